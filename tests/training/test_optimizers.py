"""Optimizers in mixed precision."""

import math
from typing import Literal

import pytest
import torch
from torch.optim import Optimizer

from slt_cache.config import (
    VisualTrainingConfig,
)
from slt_cache.models.translators import VisualTranslator
from slt_cache.training.tasks.visual import visual_optimizer


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_first_update_that_overflows_in_fp16_leaves_no_trace(
    visual: VisualTranslator, name: Literal["sgd", "adamw"]
) -> None:
    """The loss scaler begins high, and the first updates are passed over until it has come down."""
    weight = visual.translator.adapter.get_parameter("mlp.0.weight")

    def update(optimizer: Optimizer, scaler: torch.amp.GradScaler, gradient: float) -> None:
        weight.grad = torch.full_like(weight, gradient) * scaler.get_scale()
        scaler.step(optimizer)
        scaler.update()

    def ends_with(gradients: tuple[float, ...]) -> torch.Tensor:
        with torch.no_grad():
            weight.copy_(torch.ones_like(weight))
        optimizer, scaler = visual_optimizer(visual, VisualTrainingConfig(optimizer=name)), torch.amp.GradScaler("cpu")
        scaler.scale(torch.zeros(()))
        for gradient in gradients:
            update(optimizer, scaler, gradient)
        return weight.detach().clone()

    assert torch.equal(ends_with((math.inf,)), torch.ones_like(weight))
    assert torch.equal(ends_with((math.inf, 0.5, 0.25)), ends_with((0.5, 0.25)))
