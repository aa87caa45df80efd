"""Averaged weights, which are scored and kept in place of the model's own."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from slt_cache.training.averages import AveragedWeights
from slt_cache.training.loop import train
from tests.helpers.toy_training import STEPS, Killed, ToyTask, assert_same, options_of, without_seconds


class Watched(ToyTask):
    """Keeps the weights with which it is evaluated."""

    def evaluate(self) -> dict[str, float]:
        self.scored = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        return super().evaluate()


def trained(folder: Path, ema: float, kill: tuple[int, int] | None = None, **settings: Any) -> Watched:
    torch.manual_seed(2)
    task = Watched([1.0, 2.0, 3.0, 4.0], kill=kill)
    train(task, options_of(folder, epochs=2, ema=ema, **settings))
    return task


def test_the_average_of_single_steps_has_its_share_of_each() -> None:
    model = nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(0.0)
    averages = AveragedWeights(model, 0.5)
    for step, value in enumerate((1.0, 2.0), 1):
        model.weight.data.fill_(value)
        averages.update(step)
    first = 0.0 + (1 - 2 / 11) * 1.0  # at most (1 + n) / (10 + n) stays
    assert averages.averages["weight"].item() == pytest.approx(first * 3 / 12 + (1 - 3 / 12) * 2.0)
    averages.exchange()
    assert model.weight.item() == pytest.approx(first * 3 / 12 + (1 - 3 / 12) * 2.0)
    averages.exchange()
    assert model.weight.item() == 2.0


def test_frozen_weights_are_in_no_average() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].requires_grad_(False)
    assert set(AveragedWeights(model, 0.9).averages) == {"1.weight", "1.bias"}


def test_an_average_is_scored_and_kept_and_changes_nothing_in_training(tmp_path: Path) -> None:
    with_average, without = trained(tmp_path / "a", 0.9), trained(tmp_path / "b", 0.0)
    assert_same(with_average.model.state_dict(), without.model.state_dict())
    assert_same(with_average.scored, with_average.saved[2])
    assert_same(without.saved[2], without.model.state_dict())
    assert not torch.equal(with_average.saved[2]["1.weight"], without.saved[2]["1.weight"])


def test_a_killed_training_resumes_its_average_to_the_bit(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", 0.9)
    with pytest.raises(Killed):
        trained(tmp_path / "killed", 0.9, kill=(2, STEPS // 2))
    resumed = trained(tmp_path / "killed", 0.9)
    assert_same(resumed.saved[2], whole.saved[2])
    assert_same(resumed.model.state_dict(), whole.model.state_dict())
    assert without_seconds(tmp_path / "killed") == without_seconds(tmp_path / "whole")
