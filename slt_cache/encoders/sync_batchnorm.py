"""Synchronized batch norm: statistics of the whole batch, of which each process has a shard.

On a GPU this is torch's SyncBatchNorm; the CPU version, which torch lacks, is implemented here."""

from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from slt_cache.distributed.gradients import summed


class _Synchronized(_BatchNorm):
    """Base of the synchronized norms; no subclass of SyncBatchNorm, which DistributedDataParallel refuses on a CPU."""

    process_group: Any = None
    """Process group; None for all processes."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Normalizes [n, C, ...] over all processes."""
        if not self.training:
            return super().forward(input)
        if input.is_cuda:
            return nn.SyncBatchNorm.forward(self, input)  # type: ignore[arg-type]
        self._check_input_dim(input)  # type: ignore[no-untyped-call]  # torch gives it no types
        others = [0, *range(2, input.dim())]
        shape = (1, -1, *(1 for _ in input.shape[2:]))
        given = input.float()  # sums in autocast's bf16 would be too imprecise
        mine = torch.cat([given.sum(others), given.new_tensor([given.numel() / given.shape[1]])])
        sums = summed(mine)  # [C + 1]; the backward pass sums gradients alike
        count = sums[-1].detach()
        centered = given - (sums[:-1] / count).view(shape)
        variance = summed(centered.square().sum(others)) / count
        self._remember((sums[:-1] / count).detach(), (variance * count / (count - 1).clamp(min=1)).detach())
        scale = self.weight * torch.rsqrt(variance + self.eps)
        normalized: torch.Tensor = centered * scale.view(shape) + self.bias.view(shape)
        return normalized.to(input.dtype)

    def _check_non_zero_input_channels(self, input: torch.Tensor) -> None:
        """Checks the channels; called by SyncBatchNorm."""
        assert input.shape[1] > 0

    @torch.no_grad()
    def _remember(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        weight = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, weight)
        self.running_var.lerp_(variance, weight)


class SyncBatchNorm1d(nn.BatchNorm1d, _Synchronized):
    """Synchronized BatchNorm1d, still an instance of BatchNorm1d."""


class SyncBatchNorm2d(nn.BatchNorm2d, _Synchronized):
    """Synchronized BatchNorm2d, still an instance of BatchNorm2d."""


SYNCHRONIZED: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: SyncBatchNorm1d,
    nn.BatchNorm2d: SyncBatchNorm2d,
}


def sync_batch_norms(model: nn.Module) -> int:
    """Makes the batch norms of a model synchronized, keeping weights and names. Returns their number."""
    found = [module for module in model.modules() if type(module) in SYNCHRONIZED]
    for module in found:
        module.__class__ = SYNCHRONIZED[type(module)]
    return len(found)
