"""Scores of saved weights on dev."""

from dataclasses import replace
from pathlib import Path

import pytest

from slt_cache.checkpoints.record import Record, read_record
from slt_cache.pipeline.final_dev import dev_is_scored, with_final_dev
from tests.helpers.stages import IdleStage, idle_stage


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> IdleStage:
    """With a dev split, on which weights score as many points as beams."""
    monkeypatch.setattr(IdleStage, "dev_sha256", "now")
    monkeypatch.setattr(IdleStage, "score", lambda self, best, beams: {"bleu4": float(beams)})
    return idle_stage(tmp_path, {})


def test_weights_chosen_by_a_quick_search_are_scored_once_with_all_beams(stage: IdleStage) -> None:
    greedy = Record("stage 1", {}, dev={"bleu4": 1.0}, dev_beams=1, dev_sha256="now")
    final = with_final_dev(stage, stage.folder, greedy)
    beams = stage.run.config.generation.num_beams
    assert (final.dev, final.dev_beams) == ({"bleu4": float(beams)}, beams)
    assert read_record(stage.folder) == final
    assert with_final_dev(stage, stage.folder, final) is final


def test_scores_of_another_dev_split_do_not_count(stage: IdleStage, capsys: pytest.CaptureFixture[str]) -> None:
    beams = stage.run.config.generation.num_beams
    old = Record("stage 1", {}, best_epoch=2, dev={"bleu4": 1.0}, dev_beams=beams, dev_sha256="before")
    assert not dev_is_scored(stage, old)
    assert with_final_dev(stage, stage.folder, old).dev_sha256 == "now"
    assert "dev has changed since it selected these weights, epoch 2" in capsys.readouterr().err
    assert dev_is_scored(stage, replace(old, dev={}))  # chosen without dev: there is nothing to renew
