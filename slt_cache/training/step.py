"""Optimizer step on accelerate: forward, loss, backward, clipping and update.

Its overhead matters for a small model: `slt-cache bench llm` compares a step of stage 2 with the bare LLM."""

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, is_initialized
from torch import nn

from slt_cache.config import CROSS_ENTROPY
from slt_cache.device import Readback
from slt_cache.distributed.processes import all_reduce_sum, size
from slt_cache.errors import SltCacheError
from slt_cache.models.llm.masks import unread_masks
from slt_cache.models.translators import token_loss
from slt_cache.training.diagnostics import norms
from slt_cache.training.objectives.base import Outputs
from slt_cache.training.sync import MicroBatches
from slt_cache.training.task import Task, TrainerOptions


class NotFinite(SltCacheError):
    """Raised for a loss that is not a number, or infinite."""


@dataclass(frozen=True)
class StepResult:
    """Result of one optimizer step."""

    loss: float
    """Mean cross-entropy over the target tokens."""
    tokens: int
    norms: dict[str, float]
    terms: dict[str, float]
    """Mean of each other term of the loss, before its weight."""


class TrainStep:
    """Optimizer step with model and optimizer wrapped by accelerate, for mixed precision and several processes."""

    def __init__(self, task: Task, options: TrainerOptions):
        self.task = task
        self.options = options
        self._mixed = options.precision != "fp32"
        self._accelerator = _accelerator_of(options.device, options.precision if self._mixed else "no")
        self.model, self.optimizer = self._accelerator.prepare(task.model, task.optimizer())
        self.scaler: Any = self._accelerator.scaler
        """Loss scaler of fp16; None for other precisions."""
        self.label_smoothing = options.settings.label_smoothing
        self._peaks = [group["lr"] for group in self.optimizer.param_groups]
        self._weights = list(self.model.parameters())  # collecting them takes longer than clipping
        # accelerate's step looks for an optional package on disk every time, and only adds the scaler.
        self._step = self.optimizer.optimizer.step if self.scaler is None else self.optimizer.step

    def autocast(self) -> AbstractContextManager[Any]:
        return self._accelerator.autocast() if self._mixed else nullcontext()

    def set_lr(self, factor: float) -> None:
        """Sets each group's learning rate to a fraction of its peak."""
        for group, peak in zip(self.optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * factor

    @property
    def lr(self) -> float:
        """Learning rate of the first parameter group."""
        return float(self.optimizer.param_groups[0]["lr"])

    def __call__(self, group: MicroBatches, watched: Mapping[str, nn.Module]) -> StepResult:
        """Takes an optimizer step on the mean loss over the target tokens (or clips) of all micro-batches and
        processes, as if they were one large batch. Returns the norms of the `watched` layers too.

        Raises NotFinite on a loss that is not finite, before any weight changes."""
        for weight in self._weights:
            weight.grad = None  # also those without optimizer: clipping looks at every gradient
        losses = [self._backward(batch, group, last=batch is group.batches[-1]) for batch in group.batches]
        # A GPU is still at the last backward, and is given the rest of the step meanwhile.
        values = [dict(zip(names, read.values(), strict=True)) for names, read in losses]
        means = [sum(one[name] for one in values) / size() for name in values[0]]
        total, *others = all_reduce_sum(means, self._not_finite(group, values))
        found = norms(watched, 1.0 if self.scaler is None else self.scaler.get_scale()) if watched else {}
        if self.options.settings.clip_norm is not None:
            if self.scaler is not None:
                self._accelerator.unscale_gradients()
            nn.utils.clip_grad_norm_(self._weights, self.options.settings.clip_norm)
        self._step()
        return StepResult(total, group.tokens, found, dict(zip(list(values[0])[1:], others, strict=True)))

    def _backward(self, batch: Any, group: MicroBatches, last: bool) -> tuple[list[str], Readback]:
        """Accumulates gradients of one batch; returns the names of the terms of the loss, cross-entropy first, and
        their values to read. Processes exchange gradients only after the last batch."""
        batch = batch.to(self.options.device)
        with nullcontext() if last or size() == 1 else self._accelerator.no_sync(self.model):
            with self.autocast(), unread_masks(self.options.device):
                outputs = self.task.logits(self.model, batch)
            logits, weight, terms = outputs if isinstance(outputs, Outputs) else (outputs, 1.0, ())
            # DistributedDataParallel averages gradients over processes instead of summing them.
            counts = {"tokens": group.tokens / size(), "clips": group.clips / size()}
            loss = token_loss(logits, batch.targets.labels, self.label_smoothing)
            loss = loss / counts["tokens"]
            others = {term.name: term.value / counts[term.per] for term in terms}
            named = {CROSS_ENTROPY: loss, **others}
            read = Readback(torch.stack([one.detach() for one in named.values()]))  # once the forward pass is done
            self._accelerator.backward(sum((others[term.name] * term.weight for term in terms), loss * weight))
        return list(named), read

    def _not_finite(self, group: MicroBatches, values: list[dict[str, float]]) -> NotFinite | None:
        for batch, losses in zip(group.batches, values, strict=True):
            wrong = next((name for name, loss in losses.items() if not math.isfinite(loss)), None)
            if wrong is not None:
                term = "" if wrong == CROSS_ENTROPY else f" of the term {wrong}"
                return NotFinite(
                    f"{self.task.name}: the loss{term} became {losses[wrong]} on the clips {', '.join(batch.ids)}. "
                    "Lower the learning rate, set clip_norm, or look at these clips."
                )
        return None


def _accelerator_of(device: torch.device, precision: str) -> Accelerator:
    """Returns an accelerator for this device and precision. accelerate would keep those of the first training of the
    process."""
    if is_initialized():
        known = AcceleratorState()
        other_gpu = device.index is not None and device.index != known.device.index
        if known.mixed_precision != precision or known.device.type != device.type or other_gpu:
            AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(cpu=device.type == "cpu", mixed_precision=precision)
