"""A run of 04acb8d, from before records had hashes: every command reads it, with one line on stderr that says that it
cannot be verified (tests/helpers/runs/README.md)."""

import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from slt_cache import hashes
from slt_cache.hashes import UNVERIFIABLE
from tests.helpers.commands import Ran, slt_cache
from tests.helpers.videos import Coding, encode

ARCHIVE = Path(__file__).parents[1] / "helpers/runs/04acb8d.tar.xz"


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder / "run"


@pytest.fixture
def run(unpacked: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of hard links, in which commands replace files."""
    shutil.copytree(unpacked, tmp_path / "run", copy_function=os.link)
    yield tmp_path / "run"


def succeed(runs: Path | list[Path], *arguments: str | Path) -> Ran:
    """Runs a command that reads records of one of the first runs, or of several, and must say so once for each."""
    hashes._report_unverifiable.cache_clear()
    ran = slt_cache(*arguments)
    assert ran.code == 0, ran.err
    said = [line for line in ran.err.splitlines() if UNVERIFIABLE in line]
    assert said == [f"{run}: {UNVERIFIABLE}" for run in (runs if isinstance(runs, list) else [runs])]
    return ran


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("split", ["dev", "test"])
def test_eval_gives_the_hypotheses_and_scores_of_then(run: Path, split: str) -> None:
    table, scores = run / f"eval/{split}.tsv", run / f"eval/{split}.json"
    then = table.read_bytes(), json.loads(scores.read_text())["scores"]
    table.unlink()
    ran = succeed(run, "eval", "--run", run, "--split", split, "--json")
    assert (table.read_bytes(), json.loads(ran.out)["scores"]) == then


def test_verify_names_what_cannot_be_verified_and_calls_nothing_damaged(run: Path) -> None:
    ran = succeed(run, "verify", run, "--json")
    found = json.loads(ran.out)
    assert found["ok"] and not found["problems"]
    names = ["visual/best/record.json", "llm/best/record.json", "llm/pretrained/best/record.json"]
    names += ["tokenizer/record.json", "prepare.json", "eval/dev.json", "eval/test.json"]
    assert sorted(found["notes"]) == sorted(f"{run / name}: {UNVERIFIABLE}" for name in names)


def test_verify_still_finds_damage_in_it(run: Path) -> None:
    record, cache = run / "llm/best/record.json", run / "feats.h5"
    for path, data in (
        (record, record.read_bytes().replace(b'"finished"', b'"finisied"')),
        (cache, cache.read_bytes()[:-3] + b"\0\1\2"),
    ):
        path.unlink()  # the name of a hard link
        path.write_bytes(data)
    ran = slt_cache("verify", run, "--json")
    problems = json.loads(ran.out)["problems"]
    assert ran.code == 1 and all(any(line.startswith(str(path)) for line in problems) for path in (record, cache))


@pytest.mark.parametrize("command", ["train-visual", "train-llm"])
def test_a_finished_training_is_not_repeated(run: Path, command: str) -> None:
    before = contents(run)
    ran = succeed(run, command, "--run", run)
    assert "trained already" in ran.err
    assert "too old to show whether it was trained on the present clips" in ran.err
    assert contents(run) == before


def test_a_training_with_other_settings_is_refused(run: Path) -> None:
    ran = slt_cache("train-llm", "--run", run, "--set", "llm_training.epochs=3")
    assert ran.code == 2 and "llm_training.epochs: made with 40, asked for 3" in ran.err
    assert "manifest" not in ran.err


def test_another_run_begins_from_it(run: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    succeed([run, new], "train-llm", "--run", new, "--from", run, "--set", "llm_training.epochs=1")
    assert (new / "llm/best/record.json").is_file()


def test_its_cache_is_read_as_any_other(run: Path, tmp_path: Path) -> None:
    cache = run / "feats.h5"
    info = slt_cache("cache", "info", cache, "--json")
    assert {split: held["clips"] for split, held in json.loads(info.out)["splits"].items()} == {
        "train": 19,
        "dev": 2,
        "test": 3,
    }
    assert slt_cache("cache", "verify", cache).code == 0
    assert slt_cache("cache", "show", "test-00000", "--features", cache).code == 0
    assert slt_cache("cache", "export", cache, tmp_path / "out").code == 0


def test_a_report_is_written(run: Path) -> None:
    succeed(run, "report", "--run", run)
    assert (run / "report.html").is_file()


def test_videos_are_translated_and_extracted_with_its_weights(run: Path) -> None:
    videos = [run / f"corpus/videos/test-0000{number}.mp4" for number in range(3)]
    for video in videos:
        video.parent.mkdir(exist_ok=True)
        encode(video, Coding(video.name), 24)
    translated = json.loads(succeed(run, "translate", videos[0], "--run", run, "--json").out)
    assert translated["translations"][0]["text"]
    extracted = succeed(
        run, "extract-features", "--run", run, "--split", "test", "--features", run / "new.h5", "--json"
    )
    assert json.loads(extracted.out)["clips"] == 3
