"""metrics.jsonl."""

import json
import math
from pathlib import Path

import pytest

from slt_cache.metrics.registry import METRICS
from slt_cache.training.logs import MetricsLog, read_metrics
from slt_cache.training.loop import train
from slt_cache.training.state import TrainerState
from tests.helpers.toy_training import (
    STEPS,
    Killed,
    ToyTask,
    options_of,
)


def test_the_log_has_a_line_every_ten_updates_and_every_epoch(tmp_path: Path) -> None:
    train(ToyTask([1.0, 2.0]), options_of(tmp_path, epochs=2))
    lines = read_metrics(tmp_path / "last" / "metrics.jsonl")
    assert [(line["kind"], line["epoch"], line["step"]) for line in lines] == [
        ("step", 1, 10),
        ("epoch", 1, 12),
        ("step", 2, 20),
        ("epoch", 2, 24),
    ]
    assert lines[3]["dev"] == {"bleu4": 2.0, "rouge_l": 1.0}
    assert all(math.isfinite(line["loss"]) for line in lines)


def test_lines_of_a_killed_epoch_are_dropped_on_resume(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(ToyTask([1.0] * 4, kill=(2, 11)), options_of(tmp_path))
    before = read_metrics(tmp_path / "last" / "metrics.jsonl")
    assert (before[-1]["kind"], before[-1]["epoch"]) == ("step", 2)
    log = MetricsLog(tmp_path / "last" / "metrics.jsonl", METRICS["bleu4"], TrainerState(epoch=1, step=STEPS))
    assert read_metrics(tmp_path / "last" / "metrics.jsonl") == before[:-1]
    log.step(TrainerState(epoch=1, step=20), 0.5, 0.1, {})
    assert read_metrics(tmp_path / "last" / "metrics.jsonl")[-1]["loss"] == 0.5


def test_a_line_that_a_kill_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps({"kind": "epoch", "epoch": 1}) + '\n{"kind": "st')
    MetricsLog(path, METRICS["bleu4"], TrainerState(epoch=1, step=STEPS)).step(
        TrainerState(epoch=1, step=20), 0.5, 0.1, {}
    )
    assert [line["epoch"] for line in read_metrics(path)] == [1, 2]
