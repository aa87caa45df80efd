"""Processes that join an extraction and leave it, as in a job array: `extract-features --join`."""

import os
import random
import re
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision.models import resnet18

from slt_cache.distributed.work_queue import WorkQueue
from slt_cache.errors import InputError
from slt_cache.features.cache import open_splits
from slt_cache.features.parts import Parts, parts_folder
from slt_cache.pipeline.extract import extract
from slt_cache.runs.run import open_run
from tests.helpers.commands import TINY, slt_cache
from tests.helpers.joiners import exit_codes, stalling, start_joiner
from tests.helpers.own_program import write_program
from tests.helpers.small_disks import file_size_limit
from tests.helpers.small_vision_models import make_vision_model

QUICK = ("--set", "compute.lease_seconds=1")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run whose cache one process has written, in parts of two clips."""
    folder = tmp_path_factory.mktemp("join")
    torch.manual_seed(1)
    torch.save(resnet18().state_dict(), folder / "resnet18.pth")
    settings = (f"encoder.weights={folder / 'resnet18.pth'}", "features.clips_per_part=2")
    words = [part for word in settings for part in ("--set", word)]
    ran = slt_cache("extract-features", "--encoder", "resnet18", "--run", folder / "run", "--config", TINY, *words)
    assert ran.code == 0, ran.err
    yield folder / "run"


@pytest.fixture
def run(alone: Path, tmp_path: Path) -> Path:
    """A copy of it without the cache."""
    copy = Path(shutil.copytree(alone, tmp_path / "run"))
    (copy / "feats.h5").unlink()
    return copy


def words(run: Path, *options: object) -> tuple[object, ...]:
    return ("extract-features", "--join", "--run", run, *QUICK, *options)


def is_same(run: Path, alone: Path) -> bool:
    """Whether the cache has the bytes of one process, and nothing else is left."""
    left = {path.name for path in run.iterdir()} ^ {path.name for path in alone.iterdir()}
    assert not left, left
    return (run / "feats.h5").read_bytes() == (alone / "feats.h5").read_bytes()


@pytest.mark.parametrize("at", ["part", pytest.param("file", marks=pytest.mark.slow)])
def test_a_killed_process_costs_its_part_and_the_others_write_the_bytes_of_one(
    alone: Path, run: Path, tmp_path: Path, at: str
) -> None:
    with stalling(tmp_path / "0", *words(run), at=at) as dead:
        others = [start_joiner(tmp_path / str(number), *words(run), days=5 - 4 * number) for number in (1, 2)]
        time.sleep(0.5)
        dead.kill()
        dead.join()
        assert dead.exitcode == -signal.SIGKILL
        assert exit_codes(others) == [0, 0]
    assert is_same(run, alone)
    said = [(tmp_path / str(number)).read_text() for number in (1, 2)]
    assert all("train: " in one and "by this process" in one and "already exist" not in one for one in said), said


@pytest.mark.parametrize("kind", ["hf", "command"])
def test_two_processes_write_the_bytes_of_one_with_another_encoder(run: Path, tmp_path: Path, kind: str) -> None:
    make_vision_model("dinov2", tmp_path / "model", image_mean=[0.5] * 3, image_std=[0.5] * 3)
    name = f"hf:{tmp_path / 'model'}" if kind == "hf" else f"command:{write_program(tmp_path / 'program')}"
    chosen = ("--set", f"encoder.name={name}", "--set", "encoder.clips_per_call=8")
    one, both = (words(run, "--features", run / f"{file}.h5", *chosen) for file in ("one", "both"))
    assert slt_cache(*(word for word in one if word != "--join")).code == 0
    team = [start_joiner(tmp_path / str(number), *both) for number in range(2)]
    codes = exit_codes(team)
    said = "".join((tmp_path / str(number)).read_text() for number in range(2))
    assert codes == [0, 0], said
    assert sum(int(count) for count in re.findall(r"(\d+) by this process", said)) == 24
    assert (run / "both.h5").read_bytes() == (run / "one.h5").read_bytes()


def test_while_others_have_joined_only_who_asks_for_the_same_may_write(run: Path, tmp_path: Path) -> None:
    with stalling(tmp_path / "0", *words(run)) as other:
        plain = slt_cache("extract-features", "--run", run)
        other_type = slt_cache(*words(run), "--dtype", "float32")
        one_split = slt_cache(*words(run), "--split", "dev", "--allow-missing")
        other.terminate()  # as a cluster does
        other.join()
    assert plain.code == 2 and "processes that joined (--join), the latest of them process " in plain.err
    assert other_type.code == 2 and "(dtype: the others float16, this process float32)" in other_type.err
    assert one_split.code == 2 and "--split: the others ['train', 'dev', 'test'], this process ['dev']" in one_split.err
    assert "--allow-missing: the others False, this process True" in one_split.err
    assert all(len(ran.err.splitlines()) <= 2 for ran in (plain, other_type, one_split))
    assert other.exitcode == 130
    assert "interrupted; the same command resumes" in (tmp_path / "0").read_text()
    assert not parts_folder(run / "feats.h5").exists()  # it has not made a part


def test_alone_it_writes_the_same_and_once_all_is_done_it_says_so(alone: Path, run: Path) -> None:
    assert slt_cache(*words(run)).code == 0
    assert is_same(run, alone)
    again = slt_cache(*words(run))
    assert again.code == 0 and "train: " in again.out and "already exist" in again.out
    assert is_same(run, alone)


def test_parts_of_other_days_count_whoever_made_them(alone: Path, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain extraction that is killed, then one that joins and is killed, and a plain one that ends it."""

    class Killed(BaseException):
        pass

    made: list[int] = []
    write = Parts.write

    def killing(self: Any, number: int, *rows: Any) -> None:
        if len(made) in (3, 6):
            made.append(-1)
            raise Killed
        made.append(number)
        write(self, number, *rows)

    monkeypatch.setattr(Parts, "write", killing)
    for command in (("extract-features", "--run", run), words(run)):
        with pytest.raises(Killed):
            slt_cache(*command)
    assert slt_cache("extract-features", "--run", run).code == 0
    assert is_same(run, alone)
    assert len(made) == 2 + sum(-(-len(split) // 2) for split in open_splits(run / "feats.h5").values())


def test_unreadable_clips_are_treated_as_without_join(run: Path) -> None:
    (run / "corpus" / "videos" / "dev-00001.mp4").write_bytes(b"no video")
    ran = slt_cache(*words(run, "--split", "dev"))
    assert ran.code == 1 and "failed\tdev-00001" in ran.err
    assert not (run / "feats.h5").exists() and (run / "feats.dev.failed.tsv").is_file()
    plain = ("extract-features", "--run", run, "--split", "dev", "--features", run / "plain.h5")
    for command in (words(run, "--split", "dev"), plain):
        assert slt_cache(*command, "--allow-missing").code == 0
    assert (run / "feats.h5").read_bytes() == (run / "plain.h5").read_bytes()


def test_restart_and_torchrun_are_refused(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = slt_cache(*words(run), "--restart")
    assert ran.code == 2 and "--join and --restart contradict each other" in ran.err
    assert not parts_folder(run / "feats.h5").exists()
    with pytest.raises(InputError, match="torchrun share the work already"):
        extract(open_run(run), ["dev"], run / "feats.h5", join=True, queue=WorkQueue(1, 2))


def test_a_disk_that_is_full_ends_each_process_and_names_what_is_kept(run: Path) -> None:
    with file_size_limit(9_000):
        ran = slt_cache(*words(run, "--split", "dev"))
    assert ran.code == 1 and "0 of 1 parts are kept" in ran.err and "Traceback" not in ran.err
    assert slt_cache(*words(run, "--split", "dev")).code == 0


@pytest.mark.slow
def test_processes_that_begin_a_run_together_prepare_it_one_by_one(alone: Path, tmp_path: Path) -> None:
    settings = (f"encoder.weights={alone.parent / 'resnet18.pth'}", "features.clips_per_part=2")
    begin = ["--config", TINY, "--encoder", "resnet18", *(part for word in settings for part in ("--set", word))]
    run = tmp_path / "run"
    team = [start_joiner(tmp_path / str(number), *words(run, *begin)) for number in range(3)]
    assert exit_codes(team) == [0, 0, 0], [(tmp_path / str(number)).read_text() for number in range(3)]
    assert is_same(run, alone)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_processes_that_come_and_go_at_random_leave_the_bytes_of_one(
    alone: Path, run: Path, tmp_path: Path, seed: int
) -> None:
    """Four at a time, with different clocks, of which one is killed, preempted or stopped for longer than its lease
    every now and then."""
    draw, started = random.Random(seed), []
    for number in range(10):
        started.append(start_joiner(tmp_path / str(number), *words(run), days=draw.uniform(-2, 2)))
        alive = [process for process in started if process.is_alive()]
        time.sleep(draw.uniform(0.1, 1.0))
        if len(alive) == 4:
            victim = draw.choice(alive)
            match draw.randrange(3):
                case 0:
                    victim.kill()
                case 1:
                    victim.terminate()
                case _:
                    _stop(victim, 2.5)
    codes = exit_codes(started)
    said = {number: (tmp_path / str(number)).read_text() for number in range(10)}
    assert set(codes) <= {0, 130, -signal.SIGKILL, -signal.SIGTERM} and 0 in codes, (codes, said)
    assert is_same(run, alone)


def _stop(process: Any, seconds: float) -> None:
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(process.pid, signal.SIGCONT)
