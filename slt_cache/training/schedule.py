"""How long a training goes on, and how the learning rate falls meanwhile."""

import math
import time

from slt_cache.training.state import TrainerState
from slt_cache.training.task import TrainerOptions


class Schedule:
    """Of a training that has done what `progress` says when it begins."""

    def __init__(self, options: TrainerOptions, batches_an_epoch: int, progress: TrainerState):
        self.options = options
        self.updates = math.ceil(batches_an_epoch / options.settings.accumulate)
        """Of an epoch."""
        self._begun = time.monotonic()
        self._first = progress.step

    def lr_factor(self, progress: TrainerState) -> float:
        """What the peak learning rates are multiplied by: linear warm-up to 1, then a cosine to 0 (method.md: cosine
        annealing)."""
        warmup = self.options.settings.warmup_steps
        if progress.step < warmup:
            return (progress.step + 1) / (warmup + 1)
        steps = self.updates * self.options.settings.epochs
        done = (progress.step - warmup) / max(steps - warmup, 1)
        return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))

    def finished(self, progress: TrainerState) -> bool:
        """Whether the epochs are used up, or dev has not improved for too long."""
        return self.out_of_patience(progress) or progress.epoch >= self.options.settings.epochs

    def out_of_patience(self, progress: TrainerState) -> bool:
        """Whether dev has not improved for too long."""
        patience = self.options.settings.patience
        stale = progress.epoch - progress.best_epoch
        return patience is not None and bool(progress.dev) and stale >= patience * self.options.evaluate_every

    def dev_is_due(self, progress: TrainerState) -> bool:
        """Behind the epoch that has begun, once all of it is done."""
        epoch = progress.epoch + 1
        return epoch % self.options.evaluate_every == 0 or epoch >= self.options.settings.epochs

    def left(self, progress: TrainerState) -> float | None:
        """Seconds until training ends, if it does not end early; evaluations go into its pace. None before there is
        anything to go by."""
        done = progress.step - self._first
        left = max(self.updates * self.options.settings.epochs - progress.step, 0)
        return (time.monotonic() - self._begun) / done * left if done else None
