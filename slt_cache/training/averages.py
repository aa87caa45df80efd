"""Exponential moving average (EMA) of the weights in training, which evaluations and kept weights use."""

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from slt_cache.models.weights import frozen_state


class AveragedWeights:
    """Average of the weights that learn and of batch statistics, the same in all processes; live and in turns with the
    model's own."""

    def __init__(self, model: nn.Module, decay: float):
        """Begins with the weights of the model on its device; `decay` is the share of the average that stays in each
        step, at most (1 + n) / (10 + n) in step n."""
        self.decay = decay
        frozen = frozen_state(model)
        learned = {name: one for name, one in model.state_dict().items() if name not in frozen}
        own = {one.data_ptr(): (name, one) for name, one in learned.items() if one.is_floating_point()}
        self.own = dict(own.values())
        """Tensors of the model, a tied one under one of its names."""
        self.averages = {name: one.clone() for name, one in self.own.items()}
        self.in_place = False
        """Whether the model has the averages at present, and `averages` its own weights."""

    def update(self, step: int) -> None:
        """Takes in the weights after optimizer step `step`."""
        average = get_ema_multi_avg_fn(min(self.decay, (1 + step) / (10 + step)))
        average(list(self.averages.values()), list(self.own.values()), step)

    @torch.no_grad()
    def exchange(self) -> None:
        """Puts the averages into the model, or its own weights back."""
        for name, one in self.own.items():
            held = one.clone()
            one.copy_(self.averages[name])
            self.averages[name].copy_(held)
        self.in_place = not self.in_place

    @torch.no_grad()
    def load(self, averages: dict[str, torch.Tensor]) -> None:
        """Loads averages as saved."""
        for name, one in self.averages.items():
            one.copy_(averages[name])
