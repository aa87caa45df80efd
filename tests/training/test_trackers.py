"""TensorBoard and Weights & Biases."""

from dataclasses import replace
from pathlib import Path

import pytest

from slt_cache.errors import InputError
from slt_cache.training import trackers
from slt_cache.training.logs import read_metrics
from slt_cache.training.loop import train
from slt_cache.training.trackers import require_tracker
from tests.helpers.toy_training import Killed, ToyTask, options_of


def test_a_tracker_that_is_not_installed_is_named_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    require_tracker("none")
    with pytest.raises(InputError, match="Run: pip install wandb"):
        require_tracker("wandb")


def test_tensorboard_gets_the_figures_of_the_metrics_log_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    options = replace(options_of(tmp_path), tracker="tensorboard")
    with pytest.raises(Killed):
        train(ToyTask([1.0, 2.0, 3.0, 4.0], kill=(2, 11)), options)
    train(ToyTask([1.0, 2.0, 3.0, 4.0]), options)
    events = EventAccumulator(str(tmp_path / "last" / "tensorboard"))
    events.Reload()
    lines = read_metrics(tmp_path / "last" / "metrics.jsonl")
    steps = {line["step"]: line for line in lines if line["kind"] == "step"}
    for name, key in (("train/loss", "loss"), ("grad_norm/last", "grad_norm/last")):
        points = {point.step: point.value for point in events.Scalars(name)}
        assert points == pytest.approx({step: line[key] for step, line in steps.items()}, rel=1e-5)
        assert len(events.Scalars(name)) == len(steps)
    assert [point.value for point in events.Scalars("dev/bleu4")] == [1.0, 2.0, 3.0, 4.0]


def test_weights_and_biases_gets_the_figures_too_and_an_unfinished_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    options = replace(options_of(tmp_path, epochs=2), tracker="wandb")
    with pytest.raises(Killed):
        train(ToyTask([1.0, 2.0], kill=(2, 11)), options)
    run_id = (tmp_path / "last" / "wandb-id.txt").read_text()
    train(ToyTask([1.0, 2.0]), options)
    assert [path.suffixes for path in (tmp_path / "wandb").rglob(f"run-{run_id}.wandb")] == [[".wandb"]] * 2
