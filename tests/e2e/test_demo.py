"""The demo: everything at once, once."""

import json
from pathlib import Path

import pytest

from slt_cache import demo as demo_module
from slt_cache.errors import SltCacheError
from tests.helpers.commands import TINY, brief_config, interrupt_at, slt_cache

MODELS = {"visual", "llm", "llm-from-scratch", "control"}


def outputs(run: Path) -> dict[str, int]:
    """When each trained or extracted file was written."""
    return {
        str(path.relative_to(run)): path.stat().st_mtime_ns
        for path in run.rglob("*")
        if path.suffix in {".safetensors", ".h5", ".mp4", ".jsonl"} or path.parent.name == "eval"
    }


def test_a_second_demo_redoes_nothing_and_prints_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    arguments = ("demo", "--full", "--run", run)
    first = slt_cache(*arguments, "--config", brief_config(tmp_path), "--json")
    assert first.code == 0, first.err
    figures = json.loads(first.out)
    assert set(figures["scores"]) == MODELS
    assert figures["clips"] == 3
    assert len(figures["samples"]) == 3
    assert figures["cache"]["ratio"] > 0
    assert Path(figures["report"]).is_file()
    before = outputs(run)
    second = slt_cache(*arguments, "--json")
    assert second.code == 0, second.err
    assert outputs(run) == before
    again = json.loads(second.out)
    assert {**again, "seconds": 0, "samples": []} == {**figures, "seconds": 0, "samples": []}
    table = slt_cache(*arguments)
    assert "stage 1 alone" in table.out
    assert "without pre-training" in table.out
    assert f"report: {run / 'report.html'}" in table.out

    def fail(_: object) -> None:
        raise SltCacheError("no room for the page")

    with monkeypatch.context() as patched:
        patched.setattr(demo_module, "write_report", fail)
        without = slt_cache(*arguments)
    assert without.code == 1 and "no room for the page" in without.err
    assert "stage 1 alone" in without.err  # the scores are shown all the same

    refused = slt_cache("demo", "--run", run, "--seed", "5")
    assert refused.code == 2
    assert "seed: made with 0, asked for 5" in refused.err
    assert slt_cache("demo", "--run", run).code == 0  # what was refused has left no trace


@pytest.mark.slow
def test_a_demo_interrupted_in_every_step_goes_on_to_the_same_translations(tmp_path: Path) -> None:
    settings = ("--config", TINY, "--set", f"corpus.root={tmp_path / 'corpus'}", "--set", "compute.workers=1")
    whole, interrupted = tmp_path / "whole", tmp_path / "interrupted"
    assert slt_cache("demo", "--run", whole, *settings).code == 0
    for step in (
        "[corpus]",
        "stage 1 epoch 1",
        "[features]",
        "[pre-training]",
        "stage 2 epoch 1",
        "[Light-T baseline]",
        "[test]",
    ):
        ran = interrupt_at(step, "demo", "--run", interrupted, *settings)
        assert ran.code == 130, (step, ran.err)
        assert "Traceback" not in ran.err, step
        assert not list(tmp_path.rglob("*.tmp")), step
    assert slt_cache("demo", "--run", interrupted, *settings).code == 0
    for name in (
        "eval/test.tsv",
        "eval/visual.test.tsv",
        "visual/best/encoder.safetensors",
        "llm/best/model.safetensors",
    ):
        assert (interrupted / name).read_bytes() == (whole / name).read_bytes(), name


def test_the_demo_is_for_its_own_corpus(tmp_path: Path) -> None:
    ran = slt_cache("demo", "--run", tmp_path / "run", "--config", "tsv")
    assert ran.code == 2
    assert "avatar" in ran.err


@pytest.mark.slow
def test_the_demo_learns_to_read_the_videos(tmp_path: Path) -> None:
    """About eight minutes on two cores."""
    ran = slt_cache("demo", "--run", tmp_path / "run", "--json")
    assert ran.code == 0, ran.err
    scores = {model: figures["bleu4"] for model, figures in json.loads(ran.out)["scores"].items()}
    assert scores["visual"] >= 45
    assert scores["llm"] >= 75
    assert scores["llm"] > scores["visual"]
