"""One update of the weights."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from torch import nn
from torch.optim import Optimizer

from slt_cache.errors import SltCacheError
from slt_cache.training.loop import train
from slt_cache.training.step import TrainStep
from tests.helpers.toy_training import STEPS, ToyTask, options_of


def test_gradients_are_clipped_to_the_norm(tmp_path: Path) -> None:
    norms = []

    class Recorded(ToyTask):
        def optimizer(self) -> Optimizer:
            optimizer = super().optimizer()
            optimizer.register_step_pre_hook(
                lambda *_: norms.append(
                    float(sum(p.grad.norm() ** 2 for p in self.model.parameters() if p.grad is not None)) ** 0.5
                )
            )
            return optimizer

    train(Recorded([1.0]), options_of(tmp_path, epochs=1, clip_norm=0.01))
    assert norms == pytest.approx([0.01] * STEPS, rel=1e-3)


def test_a_loss_that_is_not_finite_ends_training_and_names_the_clips(tmp_path: Path) -> None:
    task = ToyTask([1.0] * 4, broken=5)
    task.model[2] = nn.Identity()
    before = {name: tensor.clone() for name, tensor in task.model.state_dict().items()}
    with pytest.raises(SltCacheError, match=r"nan.*clip 5\.0, clip 5\.1, clip 5\.2") as failed:
        train(task, options_of(tmp_path))
    assert failed.value.exit_code == 1
    assert all(torch.isfinite(tensor).all() for tensor in task.model.state_dict().values())
    assert not torch.equal(before["1.weight"], task.model.state_dict()["1.weight"])


def test_learning_rates_are_set_as_a_factor_of_each_groups_peak(tmp_path: Path) -> None:
    step = TrainStep(ToyTask(lr=0.1), options_of(tmp_path))
    step.set_lr(0.5)
    assert [group["lr"] for group in step.optimizer.param_groups] == pytest.approx([0.05, 0.005])
    step.set_lr(1.0)
    assert step.lr == pytest.approx(0.1)


def test_each_training_of_a_process_has_its_own_precision_and_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def autocast_of(precision: str) -> torch.dtype | None:
        step = TrainStep(ToyTask(), replace(options_of(tmp_path), precision=precision))
        with step.autocast():
            return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None

    assert [autocast_of(one) for one in ("fp32", "bf16", "fp32")] == [None, torch.bfloat16, None]
    step = TrainStep(ToyTask(), options_of(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(AcceleratorState(), "device", torch.device("cuda", 0))  # of a training before this one
        step = TrainStep(ToyTask(), options_of(tmp_path))
    assert step._accelerator.device.type == "cpu"
