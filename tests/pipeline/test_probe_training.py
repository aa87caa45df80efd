"""Trainings from pixels open all videos before the first epoch."""

import json
import shutil
from pathlib import Path

import pytest

from slt_cache.checkpoints.record import read_record
from tests.conftest import write_video
from tests.helpers.commands import TINY, Ran, slt_cache
from tests.helpers.tiny_run import succeed

FAST = ("--set", "llm.language=de_DE", "--set", "visual_training.epochs=1", "--set", "llm_training.epochs=1")
HEADER = "id\tsplit\tvideo\tstart\tend\ttext"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Six videos of train, two of dev, one of test."""
    folder = tmp_path / "own"
    folder.mkdir()
    lines = [HEADER]
    for number, split in enumerate([*["train"] * 6, "dev", "dev", "test"]):
        write_video(folder / f"{number}.mp4", 20, first=20 * number)
        lines.append(f"c{number}\t{split}\t{number}.mp4\t\t\tein satz mit nummer {number}")
    (folder / "manifest.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def run(own: Path, tmp_path: Path) -> Path:
    slt_cache("prepare", "tsv", "--root", own, "--run", tmp_path / "run", "--config", TINY, *FAST)
    return tmp_path / "run"


def train(run: Path, *more: str, command: str = "train-visual") -> Ran:
    return slt_cache(command, "--run", run, *more)


def test_all_bad_clips_of_train_and_dev_are_named_before_the_first_epoch(own: Path, run: Path) -> None:
    (own / "1.mp4").write_bytes(b"")
    (own / "3.mp4").write_bytes((own / "3.mp4").read_bytes()[:-900])
    (own / "6.mp4").unlink()
    (own / "8.mp4").unlink()  # of test, which is not read
    ran = train(run)
    assert ran.code == 2
    assert "3 of 8 clips cannot be read" in ran.err
    assert all(f"clip 'c{number}'" in ran.err for number in (1, 3, 6))
    assert "c8" not in ran.err
    assert f"train-visual --run {run} --allow-missing" in ran.err
    assert not (run / "visual" / "best").exists()
    assert read_record(run / "visual" / "last") is None


def test_allow_missing_goes_without_them_and_says_how_many(own: Path, run: Path) -> None:
    (own / "1.mp4").write_bytes(b"")
    (own / "6.mp4").unlink()
    ran = train(run, "--allow-missing")
    assert ran.code == 0, ran.err
    assert "training without 2 of 8 clips, which cannot be read: 'c1', 'c6'" in ran.err
    again = train(run, "--allow-missing")
    assert (again.code, "trained already" in again.err) == (0, True)
    assert "or train without them" in train(run).err


@pytest.mark.parametrize("command", [pytest.param("train-joint"), pytest.param("train-llm", marks=pytest.mark.slow)])
def test_every_training_from_pixels_looks_first(own: Path, run: Path, command: str) -> None:
    more = ("--set", "llm_training.unfreeze=temporal")
    if command == "train-llm":
        succeed("train-visual", "--run", run)
    (own / "2.mp4").write_bytes(b"")
    refused = train(run, *more, command=command)
    assert refused.code == 2
    assert "1 of 8 clips cannot be read" in refused.err
    advised = refused.err.splitlines()[-1].partition("train without them: ")[2]
    assert advised.startswith(f"slt-cache {command} --run {run} ") and advised.endswith(" --allow-missing")
    ran = train(run, *more, "--allow-missing", command=command)
    assert ran.code == 0, ran.err
    assert "training without 1 of 8 clips" in ran.err


def test_stage_2_from_the_cache_refuses_to_allow_what_it_does_not_read(run: Path) -> None:
    ran = train(run, "--allow-missing", command="train-llm")
    assert ran.code == 2
    assert "extract-features" in ran.err


def test_a_corpus_that_has_moved_is_to_be_prepared_where_it_is_now(own: Path, run: Path) -> None:
    succeed("train-visual", "--run", run)
    succeed("eval", "--model", "visual", "--run", run)
    moved = own.with_name("moved")
    shutil.move(own, moved)
    assert "trained already" in succeed("train-visual", "--run", run).err  # a finished training needs no videos
    commands = [
        ("train-visual", "--restart"),
        ("train-joint",),
        ("extract-features", "--split", "dev"),
        ("eval", "--model", "visual", "--split", "test"),
        ("bench", "visual"),
    ]
    for arguments in commands:
        assert_advised(slt_cache(*arguments, "--run", run))
    own.mkdir()
    shutil.copy(moved / "manifest.tsv", own)  # the videos alone have moved
    for arguments in commands:
        assert_advised(slt_cache(*arguments, "--run", run))
    assert "prepare tsv --root DIR" in succeed("report", "--run", run).err


def assert_advised(ran: Ran) -> None:
    assert (ran.code, "prepare tsv --root DIR" in ran.err) == (2, True), ran.err
    assert "Repair" not in ran.err


def test_clips_that_end_after_their_video_are_said_and_trained_on(own: Path, run: Path) -> None:
    manifest = own / "manifest.tsv"
    manifest.write_text(manifest.read_text().replace("2.mp4\t\t\t", "2.mp4\t0.1\t5.0\t"))
    slt_cache("prepare", "tsv", "--root", own, "--run", run)
    ran = train(run)
    assert ran.code == 0, ran.err
    assert "1 clip ends after its video does, and is read up to the video's end: 'c2'" in ran.err


def test_another_list_of_clips_is_scored_from_video_apart_from_the_runs_own_scores(own: Path, run: Path) -> None:
    succeed("train-visual", "--run", run)
    evaluate = ("eval", "--run", run, "--model", "visual")
    succeed(*evaluate)
    before = {path.name: path.read_bytes() for path in (run / "eval").iterdir()}
    lines = ["x\ttest\t~/8.mp4\t\t\tein satz mit nummer 8", 'y\tdev\t7.mp4\t0.2\t0.6\t"er sagte ""satz"""']
    other = own / "other.tsv"
    other.write_text("\n".join([HEADER, *lines]) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(own))
        ran = succeed(*evaluate, "--manifest", other, "--json")
        table = Path(json.loads(ran.out)["hypotheses"])
        [refused] = [slt_cache(*evaluate, "--manifest", other, "--split", "train")]
    assert json.loads(ran.out)["clips"] == 2
    assert table.parent == run / "eval" / "lists"
    assert table.name.startswith("visual.other-")
    rows = [line.split("\t")[:2] for line in table.read_text().splitlines()[1:]]
    assert rows == [["x", "ein satz mit nummer 8"], ["y", 'er sagte "satz"']]
    assert {path.name: path.read_bytes() for path in (run / "eval").iterdir() if path.is_file()} == before
    assert (refused.code, "only of dev, test" in refused.err) == (2, True)
    own_row = (run / "eval" / "visual.test.tsv").read_text().splitlines()[1].split("\t")
    assert table.read_text().splitlines()[1].split("\t")[2] == own_row[2]  # clip x is the run's only test clip
    (own / "7.mp4").write_bytes(b"")
    ran = slt_cache(*evaluate, "--manifest", other)
    assert (ran.code, f"Correct {other}" in ran.err, "clip 'y'" in ran.err) == (2, True, True)
    assert slt_cache("report", "--run", run).code == 0


def test_a_manifest_of_test_clips_only_says_what_there_is_and_what_to_do(own: Path, run: Path) -> None:
    manifest = own / "manifest.tsv"
    lines = manifest.read_text().splitlines()
    manifest.write_text("\n".join([lines[0], *lines[-1:]]) + "\n")
    slt_cache("prepare", "tsv", "--root", own, "--run", run)
    for command in ("train-visual", "train-joint"):
        ran = train(run, command=command)
        assert ran.code == 2
        assert "no clips of split 'train', only of test (1)" in ran.err
        assert f"eval --manifest {manifest}" in ran.err


@pytest.mark.parametrize(("asked", "meant"), [("val", "dev"), ("Validation", "dev"), ("TRAIN", "train"), ("x", None)])
def test_a_mistyped_split_is_refused_with_the_right_one(tmp_path: Path, asked: str, meant: str | None) -> None:
    for command in ("eval", "extract-features"):
        ran = slt_cache(command, "--split", asked, "--run", tmp_path)
        assert ran.code == 2
        assert f"'{asked}' is not one of train, dev, test" in ran.err
        assert (f"write {meant}" in ran.err) == (meant is not None)
