"""What becomes of a stage that is killed at its very end, trained on an incomplete cache, kept where nobody may write,
or trained onto a full disk."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slt_cache import folders
from slt_cache.checkpoints.record import Record, read_record, write_record
from slt_cache.config import load_config, save_config
from slt_cache.corpora.manifest import read_manifest
from slt_cache.errors import InputError
from slt_cache.pipeline import run_stage
from slt_cache.pipeline.final_dev import with_final_dev
from slt_cache.pipeline.stages import Stage
from slt_cache.reproduce.run_tables import request_of
from tests.e2e.test_restart import SETTINGS, contents
from tests.helpers.commands import TINY, slt_cache
from tests.helpers.killed import Killed
from tests.helpers.small_disks import fill, read_only, small_disk
from tests.helpers.tiny_run import succeed, train_tiny

LLM = ("train-llm", "--features", "feats.h5", "--run")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_tiny(tmp_path_factory.mktemp("trained") / "run", *SETTINGS)


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def without_memory(found: dict[str, str]) -> dict[str, str]:
    """But for what is remembered of videos that were looked at."""
    return {name: digest for name, digest in found.items() if name != "probed.json"}


def kill_at_final_dev(*arguments: str | Path) -> None:
    """Runs a command that is killed once stage 2's epochs are done, and before its weights are scored the last time."""

    def killed(asked: Stage, *more: Any) -> Any:
        if asked.name == "stage 2":
            raise Killed
        return with_final_dev(asked, *more)

    with pytest.MonkeyPatch.context() as patched, pytest.raises(Killed):
        patched.setattr(run_stage, "with_final_dev", killed)
        slt_cache(*arguments)


def test_killed_before_the_last_scoring_of_dev_the_next_call_does_it(run: Path) -> None:
    before = contents(run / "llm" / "best")
    kill_at_final_dev(*LLM, run, "--restart")
    assert contents(run / "llm" / "best") == before  # the old result, until the new one is whole
    greedy = read_record(run / "llm" / "last" / "best")
    assert greedy is not None and greedy.dev_beams == 1
    again = succeed(*LLM, run)
    assert "scoring the best weights on dev with 3 beams" in again.err
    record = read_record(run / "llm" / "best")
    assert record is not None and (record.finished, record.dev_beams, record.threads) == (True, 3, 1)
    assert not (run / "llm" / "last").exists()


@pytest.mark.parametrize(
    ("swaps", "done"), [(True, 0), (True, 1), (True, 2), (False, 1), (False, 2), (False, 3)], ids=str
)
def test_killed_between_the_last_renames_every_command_finds_whole_weights(run: Path, done: int, swaps: bool) -> None:
    """The old and the new weights are swapped (or the old ones step aside first), the figures follow, last/ goes."""
    moved: list[Path] = []
    old = read_record(run / "llm" / "best")

    def killing(move: Callable[[Path, Path], Any]) -> Callable[[Path, Path], Any]:
        def moving(self: Path, target: Path) -> Any:
            whole = read_record(run / "llm" / "last")
            if whole is not None and whole.finished:
                if len(moved) == done:
                    raise Killed
                moved.append(self)
            return move(self, target)

        return moving

    with pytest.MonkeyPatch.context() as patched, pytest.raises(Killed):
        patched.setattr(Path, "rename", killing(Path.rename))
        patched.setattr(Path, "replace", killing(Path.replace))
        patched.setattr(folders, "_exchange", killing(folders._exchange) if swaps else lambda one, other: False)
        slt_cache(*LLM, run, "--restart")
    succeed("eval", "--run", run)
    verified = slt_cache("verify", run)
    assert verified.code == 0, verified.out
    assert "trained already" in succeed(*LLM, run).err
    record = read_record(run / "llm" / "best")
    assert record is not None and (record.finished, record.dev_beams) == (True, 3)
    assert old is not None and record.seconds != old.seconds
    assert (run / "llm" / "metrics.jsonl").is_file()
    assert not [path for path in (run / "llm").iterdir() if path.name == "last" or ".tmp" in path.name]
    succeed("eval", "--run", run)


def test_stage_2_of_a_cache_that_lacked_clips_is_not_trained_already(run: Path) -> None:
    (run / "feats.h5").unlink()
    video = read_manifest(run / "manifest.tsv")[0].video
    kept = video.read_bytes()
    video.write_bytes(b"")
    succeed("extract-features", "--split", "all", "--run", run, "--allow-missing")
    succeed(*LLM, run, "--restart")
    video.write_bytes(kept)
    succeed("extract-features", "--split", "all", "--run", run)
    refused = slt_cache(*LLM, run)
    assert refused.code == 2
    assert "clips: made with 18, asked for 19" in refused.err
    assert "clips_sha256: other clips of train in the cache" in refused.err


def test_a_finished_run_in_a_read_only_place_is_trained_already(run: Path) -> None:
    with read_only(run):
        assert "stage 1: trained already" in succeed("train-visual", "--run", run).err
        assert "stage 2: trained already" in succeed(*LLM, run).err
        other_beams = slt_cache(*LLM, run, "--set", "generation.num_beams=2")
        refused = slt_cache(*LLM, run, "--restart")
    assert "its dev scores are kept" in other_beams.err
    for ran in (other_beams, refused):
        assert ran.code == 2
        assert "cannot be written (Read-only file system)" in ran.err


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("train-visual",), marks=pytest.mark.slow),
        ("train-llm", "--features", "feats.h5"),
        pytest.param(("llm", "pretrain"), marks=pytest.mark.slow),
    ],
)
def test_a_full_disk_ends_a_training_in_one_line_and_keeps_the_old_result(
    trained: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    size = sum(path.stat().st_size for path in trained.rglob("*") if path.is_file())
    with small_disk(tmp_path / "disk", size + (400 << 20)) as disk:
        run = Path(shutil.copytree(trained, disk / "run"))
        before = contents(run)
        filler = fill(disk, 300_000)  # enough for the first figures, and not for weights
        failed = slt_cache(*command, "--run", run, "--restart")
        assert failed.code == 1, failed.err
        line = failed.err.strip().splitlines()[-1]
        assert line.startswith("error: ") and "No space left on device" in line and "free" in line, failed.err
        assert "Traceback" not in failed.err
        assert without_memory(contents(run)) == without_memory(before)
        filler.unlink()
        succeed(*command, "--run", run, "--restart")


def test_settings_of_a_reproduction_that_never_trained_bind_nobody(tmp_path: Path) -> None:
    save_config(load_config("avatar-rich"), tmp_path / "config.yaml")
    other = ["visual_training.epochs=3"]
    assert request_of(["table4"], "0", tmp_path, "avatar-rich", other).config.visual_training.epochs == 3
    last = tmp_path / "seed0" / "base" / "visual" / "last"
    last.mkdir(parents=True)
    (last / "state.pt").write_bytes(b"")
    write_record(last, Record("stage 1", {}))
    with pytest.raises(InputError, match=r"visual_training\.epochs: made with"):
        request_of(["table4"], "0", tmp_path, "avatar-rich", other)


def test_an_unfinished_restart_with_other_settings_is_named_and_can_be_resumed(run: Path) -> None:
    rate = "--set", f"llm_training.lr={load_config(str(TINY)).llm_training.lr}"
    other = "--set", "llm_training.lr=2e-3"
    kill_at_final_dev(*LLM, run, "--restart", *other)
    finished = succeed(*LLM, run, *rate).err
    assert "stage 2: trained already" in finished
    assert "holds an unfinished training with other settings" in finished
    assert "stage 2: trained already" not in succeed(*LLM, run, *other).err
    assert "stage 2: trained already" in succeed(*LLM, run, *other).err
