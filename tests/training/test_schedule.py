"""Learning rates over a training, and its patience."""

import math
from pathlib import Path

import pytest
import torch

from slt_cache.models.translators import token_loss
from slt_cache.training.loop import train
from slt_cache.training.schedule import Schedule
from slt_cache.training.state import TrainerState
from tests.helpers.toy_training import (
    ToyTask,
    options_of,
)


@pytest.mark.parametrize(("patience", "epochs"), [(1, 3), (2, 4), (3, 5), (None, 8)])
def test_patience_counts_evaluations_without_a_better_score(tmp_path: Path, patience: int | None, epochs: int) -> None:
    task = ToyTask([1.0, 5.0, 4.0, 5.0, 3.0, 2.0, 1.0, 0.0])
    assert train(task, options_of(tmp_path, epochs=8, patience=patience)).epoch == epochs


def test_patience_counts_evaluations_and_not_epochs(tmp_path: Path) -> None:
    task = ToyTask([9.0, 5.0, 9.0, 4.0, 9.0, 3.0, 9.0, 2.0])
    progress = train(task, options_of(tmp_path, evaluate_every=2, epochs=8, patience=2))
    assert (task.evaluated, progress.epoch) == ([2, 4, 6], 6)


def test_the_learning_rate_rises_and_falls_as_a_cosine(tmp_path: Path) -> None:
    task = ToyTask([1.0, 2.0])
    train(task, options_of(tmp_path, epochs=2, warmup_steps=4))
    factors = [lr / 0.1 for lr, _ in task.lrs]
    assert factors[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert factors[4] == pytest.approx(1.0)
    assert factors[4:] == pytest.approx([0.5 * (1 + math.cos(math.pi * step / 20)) for step in range(20)])
    assert [last / first for first, last in task.lrs] == pytest.approx([0.1] * 24)


def test_label_smoothing_goes_on_a_line_from_its_first_value_to_its_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = options_of(tmp_path, epochs=2, label_smoothing=0.2, label_smoothing_end=0.0)
    schedule = Schedule(options, 3, TrainerState())
    values = [schedule.label_smoothing(TrainerState(step=step)) for step in range(7)]
    assert values == pytest.approx([0.2, 0.16, 0.12, 0.08, 0.04, 0.0, 0.0])
    constant = Schedule(options_of(tmp_path, label_smoothing=0.3), 3, TrainerState())
    assert {constant.label_smoothing(TrainerState(step=step)) for step in range(9)} == {0.3}
    used = []

    def watched(logits: torch.Tensor, labels: torch.Tensor, smoothing: float) -> torch.Tensor:
        used.append(smoothing)
        return token_loss(logits, labels, smoothing)

    monkeypatch.setattr("slt_cache.training.step.token_loss", watched)
    train(ToyTask([1.0]), options_of(tmp_path, epochs=1, label_smoothing=0.11, label_smoothing_end=0.0))
    assert used == pytest.approx([0.11 - 0.01 * step for step in range(12)])


def test_without_warm_up_training_begins_at_the_peak(tmp_path: Path) -> None:
    task = ToyTask([1.0])
    train(task, options_of(tmp_path, epochs=1))
    assert task.lrs[0] == pytest.approx((0.1, 0.01))
    assert task.lrs[6] == pytest.approx((0.05, 0.005))


def test_dev_is_due_every_few_epochs_and_after_the_last(tmp_path: Path) -> None:
    schedule = Schedule(options_of(tmp_path, evaluate_every=3, epochs=4), 12, TrainerState())
    assert [schedule.dev_is_due(TrainerState(epoch=done)) for done in range(4)] == [False, False, True, True]


def test_the_time_left_follows_from_the_updates_of_this_run_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("slt_cache.training.schedule.time.monotonic", lambda: now)
    schedule = Schedule(options_of(tmp_path, epochs=4), 12, TrainerState(step=24))
    assert schedule.left(TrainerState(step=24)) is None
    now += 6.0
    assert schedule.left(TrainerState(step=36)) == pytest.approx(6.0)
