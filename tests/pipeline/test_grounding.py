"""`eval --grounding`: what it writes and prints, from the cache and from video, for each kind of model."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from slt_cache.corpora.base import Clip
from slt_cache.corpora.manifest import write_manifest
from slt_cache.grounding.alterations import ALTERATIONS
from slt_cache.grounding.files import read_grounding
from tests.conftest import write_video
from tests.helpers.commands import slt_cache
from tests.helpers.made_run import make_run
from tests.helpers.tiny_run import succeed

SPLITS = {"train": 4, "test": 3}
SETTINGS = ("generation.max_new_tokens=6", "scoring.preset=plain")


def with_clips(run: Path) -> Path:
    """Adds videos of numbered frames, each split with the same sentence twice."""
    clips = []
    for split, count in SPLITS.items():
        for place in range(count):
            video = write_video(run / f"{split}-{place}.mp4", 12 + 4 * place, first=17 * place)
            clips.append(Clip(f"{split}/{place}", split, video, None, None, f"regen und schnee {max(place, 1)}"))
    write_manifest(run / "manifest.tsv", clips)
    return run


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = with_clips(make_run(tmp_path_factory.mktemp("grounding") / "run", "mbart", *SETTINGS))
    succeed("extract-features", "--split", "all", "--run", run)
    return run


@pytest.fixture(scope="module")
def plain(cached: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """An evaluation as it is without grounding: its answer and its files."""
    answer = json.loads(succeed("eval", "--run", cached, "--json").out)
    return answer, {path.name: path.read_bytes() for path in (cached / "eval").iterdir()}


@pytest.fixture(scope="module")
def measured(cached: Path, plain: object) -> dict[str, Any]:
    return grounding(cached)


@pytest.fixture
def run(cached: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(cached, tmp_path / "run"))


def grounding(run: Path, *options: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(succeed("eval", "--run", run, "--grounding", "--json", *map(str, options)).out)
    return found


def lines(found: dict[str, Any]) -> list[dict[str, Any]]:
    text = Path(found["grounding"]["file"]).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n") if line]


def test_scores_and_sentences_are_those_of_an_evaluation_without_it(
    cached: Path, plain: tuple[dict[str, Any], dict[str, bytes]], measured: dict[str, Any]
) -> None:
    answer, before = plain
    assert {name: measured[name] for name in answer} == answer
    after = {path.name: path.read_bytes() for path in (cached / "eval").iterdir()}
    assert after.keys() - before.keys() == {"grounding.test.jsonl"}
    assert {name: after[name] for name in before} == before


def test_every_clip_has_its_figures(measured: dict[str, Any]) -> None:
    found, rows = measured["grounding"], lines(measured)
    assert [row["id"] for row in rows] == ["test/0", "test/1", "test/2"]
    assert list(found["scores"]) == list(ALTERATIONS) == ["mask", "shuffle", "swap", "blank"]
    for row in rows:
        assert 0 <= row["reliability"] <= 1
        assert set(row["altered"]) == set(ALTERATIONS)
        for word in row["words"]:
            seen = sum(token["log_probability"] - token["without_video"] for token in word["tokens"])
            assert word["drop"] == pytest.approx(seen, abs=1e-3)
            assert word["decided"] == (word["drop"] >= found["threshold"])
    assert [row["swapped_with"] for row in rows[:2]] == ["test/2", "test/2"]  # the first two have the same sentence
    assert found["blank_step"].startswith("mean of train in ")
    assert found["prediction"]["clips"] == 3
    assert [clip.to_json() for clip in read_grounding(Path(found["file"]))] == rows


def test_a_swapped_clip_has_the_sentence_of_the_other_one(measured: dict[str, Any]) -> None:
    rows = {row["id"]: row for row in lines(measured)}
    for row in rows.values():
        assert row["altered"]["swap"] == rows[row["swapped_with"]]["hypothesis"]


def test_video_gives_what_the_cache_gives(run: Path, measured: dict[str, Any]) -> None:
    """The split is read from video if the cache lacks it; blank steps are still those of the training clips."""
    (run / "feats.h5").unlink()
    succeed("extract-features", "--split", "train", "--run", run)
    again = grounding(run)
    assert again["grounding"]["blank_step"].startswith("mean of train in ")
    for row, other in zip(lines(again), lines(measured), strict=True):
        assert row["hypothesis"] == other["hypothesis"] and row["altered"] == other["altered"]
        drops = [word["drop"] for word in other["words"]]
        assert [word["drop"] for word in row["words"]] == pytest.approx(drops, abs=1e-2)


def test_a_table_of_other_settings_has_a_grounding_of_its_own(run: Path) -> None:
    found = grounding(run, "--set", "generation.num_beams=1")
    assert Path(found["grounding"]["file"]).name == "grounding.test.num_beams-1.jsonl"
    assert Path(found["hypotheses"]).name == "test.num_beams-1.tsv"


@pytest.mark.parametrize(
    ("family", "options", "joint"),
    [("mbart", ("--model", "visual"), False), ("mbart", ("--model", "joint"), True), ("llama", (), False)],
)
def test_every_kind_of_model_is_measured(family: str, options: tuple[str, ...], joint: bool, tmp_path: Path) -> None:
    """Read from video, without a cache: a blank step is the mean of the clips themselves."""
    run = with_clips(make_run(tmp_path / "run", family, *SETTINGS, joint=joint))
    found = grounding(run, *options)
    model = f"{options[1]}." if options else ""
    assert Path(found["grounding"]["file"]).name == f"grounding.{model}test.jsonl"
    assert found["grounding"]["blank_step"] == "mean of these 3 clips"
    assert any(abs(word["drop"]) > 1e-4 for row in lines(found) for word in row["words"])


def test_clips_with_one_sentence_are_not_swapped(run: Path) -> None:
    manifest = run / "one.tsv"
    header, *rows = (run / "manifest.tsv").read_text(encoding="utf-8").splitlines()
    manifest.write_text("\n".join([header, next(row for row in rows if row.startswith("test/0"))]) + "\n")
    ran = succeed("eval", "--run", run, "--grounding", "--manifest", manifest)
    assert "swap: left out" in ran.err
    for said in ("mask", "shuffle", "blank", "reliability: mean", "swapped: 0 of 0"):
        assert said in ran.out
    assert not any(line.startswith("  swap ") for line in ran.out.splitlines())
    [file] = (run / "eval" / "lists").glob("grounding.one-*.jsonl")
    [clip] = read_grounding(file)
    assert clip.swapped_with is None and "swap" not in clip.altered


def test_translate_says_what_eval_says_of_the_same_video(run: Path, measured: dict[str, Any]) -> None:
    videos = [run / f"test-{place}.mp4" for place in range(3)]
    ran = succeed("translate", *videos, "--run", run, "--reliability", "--json")
    for one, row in zip(json.loads(ran.out)["translations"], lines(measured), strict=True):
        assert one["text"] == row["hypothesis"]
        assert one["reliability"] == pytest.approx(row["reliability"], abs=0.01)
        assert [word["word"] for word in one["words"]] == [word["word"] for word in row["words"]]
        drops = [word["drop"] for word in row["words"]]
        assert [word["drop"] for word in one["words"]] == pytest.approx(drops, abs=1e-2)
        assert bool(one["warning"]) == (one["reliability"] < 0.5)


def test_a_model_folder_has_the_blank_step_of_its_run(run: Path, tmp_path: Path) -> None:
    succeed("export-model", "--run", run, "--out", tmp_path / "model")
    tables = [
        succeed("translate", run / "test-1.mp4", *source, "--reliability", "--nbest", "2", "--tsv").out.splitlines()
        for source in (("--run", run), ("--model", tmp_path / "model"))
    ]
    header, best, second = (line.split("\t") for line in tables[0])
    assert header[-1] == "reliability"
    assert 0 <= float(best[-1]) <= 1 and second[-1] == ""
    assert tables[1][1].split("\t")[4:6] == best[4:6] and tables[1][1].split("\t")[-1] == best[-1]


def test_little_evidence_is_a_plain_warning(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for least, warns in ((1.1, True), (0.0, False)):
        monkeypatch.setattr("slt_cache.metrics.grounding.LITTLE", least)
        out = succeed("translate", run / "test-0.mp4", "--run", run, "--reliability").out
        assert re.search(r"s, reliability [01]\.\d\d\)", out)
        assert bool(re.search(r"\twarning: the video decided \d+ of \d+ content words", out)) == warns
    assert "reliability" not in succeed("translate", run / "test-0.mp4", "--run", run).out


def test_without_features_of_training_clips_reliability_is_refused(run: Path, tmp_path: Path) -> None:
    (run / "feats.h5").unlink()
    ran = slt_cache("translate", run / "test-0.mp4", "--run", run, "--reliability")
    assert ran.code == 2
    assert "lacks the training clips" in ran.err and "extract-features --split train" in ran.err
    said = succeed("export-model", "--run", run, "--out", tmp_path / "model").err
    assert "the model folder will not say how reliable a sentence is" in said
    ran = slt_cache("translate", run / "test-0.mp4", "--model", tmp_path / "model", "--reliability")
    assert ran.code == 2 and "no blank step" in ran.err
