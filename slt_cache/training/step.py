"""One update of the weights: forward, loss, backward, clipping and the optimizer's step, on accelerate.

Beside the model's own work it has little to do, and a small model notices even that little: what a step of stage 2
takes over the bare LLM is measured by `slt-cache bench llm`."""

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from slt_cache.distributed.processes import all_reduce_sum, size
from slt_cache.errors import SltCacheError
from slt_cache.models.translators import token_loss
from slt_cache.training.diagnostics import norms
from slt_cache.training.sync import MicroBatches
from slt_cache.training.task import Task, TrainerOptions


@dataclass(frozen=True)
class StepResult:
    """Of the weights, once."""

    loss: float
    """Mean of its target tokens."""
    tokens: int
    norms: dict[str, float]


class TrainStep:
    """Model and optimizer as accelerate wraps them: for mixed precision, and for several processes."""

    def __init__(self, task: Task, options: TrainerOptions):
        self.task = task
        self.options = options
        self._mixed = options.precision != "fp32"
        self._accelerator = Accelerator(
            cpu=options.device.type == "cpu", mixed_precision=options.precision if self._mixed else "no"
        )
        self.model, self.optimizer = self._accelerator.prepare(task.model, task.optimizer())
        self.scaler: Any = self._accelerator.scaler
        """Of fp16's gradients; None for other precisions."""
        self._peaks = [group["lr"] for group in self.optimizer.param_groups]
        self._weights = list(self.model.parameters())  # to look for them in all modules takes longer than to clip them
        # accelerate's own step looks on disk for an optional package, each time, and has only the scaler to see to.
        self._step = self.optimizer.optimizer.step if self.scaler is None else self.optimizer.step

    def autocast(self) -> AbstractContextManager[Any]:
        return self._accelerator.autocast() if self._mixed else nullcontext()

    def set_lr(self, factor: float) -> None:
        """Each group's learning rate, as a factor of its peak."""
        for group, peak in zip(self.optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * factor

    @property
    def lr(self) -> float:
        """Learning rate of the first group."""
        return float(self.optimizer.param_groups[0]["lr"])

    def __call__(self, group: MicroBatches, watched: Mapping[str, nn.Module]) -> StepResult:
        """Updates the weights by the mean loss of the target tokens of all batches of the group, over all processes:
        each batch counts for as much as it has tokens, as if it were one large batch. Norms of the `watched` layers
        come with it.

        Raises SltCacheError on a loss that is not finite, before any weight has changed."""
        for weight in self._weights:
            weight.grad = None  # also of what no optimizer steps: clipping looks at every gradient
        losses = [self._backward(batch, group, last=batch is group.batches[-1]) for batch in group.batches]
        # Not before the last backward: until then a GPU has more to do, and nobody to wait for.
        values = [loss.item() for loss in losses]
        total = all_reduce_sum([sum(values) / size()], self._not_finite(group, values))[0]
        found = norms(watched, 1.0 if self.scaler is None else self.scaler.get_scale()) if watched else {}
        if self.options.settings.clip_norm is not None:
            if self.scaler is not None:
                self._accelerator.unscale_gradients()
            nn.utils.clip_grad_norm_(self._weights, self.options.settings.clip_norm)
        self._step()
        return StepResult(total, group.tokens, found)

    def _backward(self, batch: Any, group: MicroBatches, last: bool) -> torch.Tensor:
        """Adds to the gradients; returns the loss, a scalar. Several processes exchange gradients behind the last
        batch alone."""
        batch = batch.to(self.options.device)
        with nullcontext() if last or size() == 1 else self._accelerator.no_sync(self.model):
            with self.autocast():
                logits = self.task.logits(self.model, batch)
            # What several processes have found is averaged, and not summed, by DistributedDataParallel.
            loss = token_loss(logits, batch.targets.labels, self.options.settings.label_smoothing)
            loss = loss / (group.tokens / size())
            self._accelerator.backward(loss)
        return loss.detach()

    def _not_finite(self, group: MicroBatches, losses: list[float]) -> SltCacheError | None:
        for batch, loss in zip(group.batches, losses, strict=True):
            if not math.isfinite(loss):
                return SltCacheError(
                    f"{self.task.name}: the loss became {loss} on the clips {', '.join(batch.ids)}. "
                    "Lower the learning rate, set clip_norm, or look at these clips."
                )
        return None
