"""Files and folders that settings name: a changed one counts as another, and one that was moved does not; settings that
stage 1 shares with the LLM; what may still be changed while nothing has trained."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from slt_cache.checkpoints.named_files import content_of
from slt_cache.checkpoints.record import Record, read_record
from slt_cache.config import load_config
from slt_cache.corpora.manifest import read_manifest
from slt_cache.encoders.visual_encoder import VisualEncoder
from tests.helpers.commands import TINY, Ran, slt_cache
from tests.helpers.small_llms import make_small_llm
from tests.helpers.tiny_run import succeed

GERMAN = ("--set", "llm.language=de_DE")
LLM = ("train-llm", "--features", "feats.h5")


def refused(*arguments: str | Path) -> Ran:
    ran = slt_cache(*arguments)
    assert ran.code == 2, ran.err
    return ran


def save_backbone(path: Path, seed: int) -> None:
    torch.manual_seed(seed)
    encoder = VisualEncoder("resnet18", 32, 5, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    torch.save(encoder.backbone.state_dict(), path)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose stage 1 began with a file of weights and a folder with an LLM, and their copies elsewhere."""
    place = tmp_path_factory.mktemp("named")
    run, weights, llm = place / "run", place / "weights.pt", place / "llm"
    succeed("prepare", "avatar", "--run", run, "--config", TINY, "--set", "corpus.clips=20")
    save_backbone(weights, seed=0)
    llm.mkdir()
    make_small_llm("mbart", llm, [clip.text for clip in read_manifest(run / "manifest.tsv")])
    files = ("--set", f"encoder.weights={weights}", "--set", f"llm.name={llm}")
    brief = ("--set", "visual_training.epochs=1", "--set", "llm_training.epochs=1")
    succeed("train-visual", "--run", run, *GERMAN, *files, *brief)
    succeed("extract-features", "--split", "all", "--run", run)
    return place


@pytest.fixture
def run(place: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(place / "run", tmp_path / "run"))


def test_initial_weights_count_by_what_they_hold_and_not_by_where_they_lie(
    place: Path, run: Path, tmp_path: Path
) -> None:
    moved = Path(shutil.copyfile(place / "weights.pt", tmp_path / "moved.pt"))
    assert "trained already" in succeed("train-visual", "--run", run, "--set", f"encoder.weights={moved}").err
    save_backbone(moved, seed=1)
    said = refused("train-visual", "--run", run, "--set", f"encoder.weights={moved}").err
    assert "encoder.weights: other content" in said
    assert "sha256:" not in said
    none = refused("train-visual", "--run", run, "--set", "encoder.weights=none").err
    assert "encoder.weights: made with a file" in none


def test_initial_weights_that_are_gone_make_no_finished_stage_refuse(place: Path, run: Path) -> None:
    weights = place / "weights.pt"
    weights.rename(place / "away.pt")
    try:
        assert "trained already" in succeed("train-visual", "--run", run).err
        refused("train-visual", "--run", run, "--set", f"encoder.weights={place / 'nosuch.pt'}")
    finally:
        (place / "away.pt").rename(weights)


def test_an_llm_counts_by_what_its_folder_holds_and_not_by_where_it_lies(
    place: Path, run: Path, tmp_path: Path
) -> None:
    llm = Path(shutil.copytree(place / "llm", tmp_path / "another name"))
    (llm / "picture.png").write_bytes(b"")
    named = ("--set", f"llm.name={llm}")
    assert "trained already" in succeed("train-visual", "--run", run, *named).err
    record = read_record(run / "llm" / "trimmed")
    assert record is not None
    assert record.settings["name"] == content_of(str(llm)) and record.settings["name"].startswith("sha256:")
    make_small_llm("mbart", llm, ["ganz andere wörter", "und noch mehr davon"])
    assert "name: other content" in refused("train-visual", "--run", run, *named).err


def test_what_is_gone_is_known_by_the_record_that_has_its_place(tmp_path: Path) -> None:
    path = tmp_path / "gone.pt"
    made = Record("stage", {}, named={"sha256:" + "a" * 64: str(path)})
    assert content_of(str(path), made) == "sha256:" + "a" * 64
    assert content_of(str(tmp_path / "other.pt"), made) == str(tmp_path / "other.pt")
    (tmp_path / "none").mkdir()
    assert content_of("none") == "none"


def test_an_llm_with_another_tokenizer_belongs_in_a_run_of_its_own(place: Path, run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    make_small_llm("mt5", other, [clip.text for clip in read_manifest(run / "manifest.tsv")])
    before = (run / "config.yaml").read_bytes()
    for more in ((), ("--set", "llm.trim=false"), ("--restart",)):
        said = refused(*LLM, "--run", run, "--set", f"llm.name={other}", *more).err
        assert "llm.name" in said and "gives another tokenizer" in said
        assert f"train-llm --from {run} --run NEW" in said
        assert f"--set llm.name={other}" in said
    assert (run / "config.yaml").read_bytes() == before
    assert "trained already" in succeed("train-visual", "--run", run).err
    new = tmp_path / "new"
    succeed("train-llm", "--from", run, "--run", new, "--set", f"llm.name={other}")
    assert load_config(str(new / "config.yaml")).llm.name == str(other)
    assert "trained already" in succeed("train-visual", "--run", run).err


@pytest.mark.parametrize("command", [("prepare", "avatar"), ("train-visual",)], ids=" ".join)
def test_a_corpus_that_nothing_was_trained_on_binds_nobody(tmp_path: Path, command: tuple[str, ...]) -> None:
    run, setting = tmp_path / "run", "corpus.clips=21"
    succeed("prepare", "avatar", "--run", run, "--config", TINY, "--set", "corpus.clips=20")
    before = (run / "manifest.tsv").read_text()
    more = ("--set", "visual_training.epochs=1") if command == ("train-visual",) else ()
    assert "drawn again" in succeed(*command, "--run", run, "--set", setting, *more).err
    assert (run / "manifest.tsv").read_text() != before
    if more:
        assert "other settings" in refused("prepare", "avatar", "--run", run, "--set", "corpus.seed=6").err


def fail(*_: object) -> None:
    raise AssertionError("an LLM was pre-trained before all input was read")


def break_video(run: Path) -> tuple[str, ...]:
    read_manifest(run / "manifest.tsv")[0].video.write_bytes(b"")
    return ()


@pytest.mark.parametrize(
    "broken", [break_video, lambda run: ("--set", "encoder.weights=nosuch.pt")], ids=["a video", "initial weights"]
)
def test_end_to_end_training_reads_all_input_before_it_makes_an_llm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: Callable[[Path], tuple[str, ...]]
) -> None:
    run = tmp_path / "run"
    succeed("prepare", "avatar", "--run", run, "--config", TINY, "--set", "corpus.clips=20")
    monkeypatch.setattr("slt_cache.pipeline.pretrain_llm._stage", fail)
    refused("train-joint", "--run", run, *broken(run))
    assert not (run / "llm").exists()
