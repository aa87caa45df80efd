"""Schedule of a training: when to evaluate and stop, and the learning rate."""

import math
import time

from slt_cache.training.state import TrainerState
from slt_cache.training.task import TrainerOptions


class Schedule:
    """Schedule of a training that starts from `progress`."""

    def __init__(self, options: TrainerOptions, batches_an_epoch: int, progress: TrainerState):
        self.options = options
        self.updates = math.ceil(batches_an_epoch / options.settings.accumulate)
        """Optimizer steps per epoch."""
        self._begun = time.monotonic()
        self._first = progress.step

    def lr_factor(self, progress: TrainerState) -> float:
        """Returns the factor of the peak learning rates: linear warm-up to 1, then cosine annealing to 0
        (method.md)."""
        warmup = self.options.settings.warmup_steps
        if progress.step < warmup:
            return (progress.step + 1) / (warmup + 1)
        steps = self.updates * self.options.settings.epochs
        done = (progress.step - warmup) / max(steps - warmup, 1)
        return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))

    def label_smoothing(self, progress: TrainerState) -> float:
        """Returns the label smoothing of the next step: constant, or on a line to `label_smoothing_end`."""
        settings, steps = self.options.settings, self.updates * self.options.settings.epochs
        first, last = settings.label_smoothing, settings.label_smoothing_end
        return first if last is None else first + (last - first) * min(progress.step / max(steps - 1, 1), 1.0)

    def finished(self, progress: TrainerState) -> bool:
        """Returns whether all epochs are done, or patience has run out."""
        return self.out_of_patience(progress) or progress.epoch >= self.options.settings.epochs

    def out_of_patience(self, progress: TrainerState) -> bool:
        """Returns whether dev has not improved for `patience` evaluations."""
        return is_out_of_patience(progress, self.options.settings.patience, self.options.evaluate_every)

    def dev_is_due(self, progress: TrainerState) -> bool:
        """Returns whether to evaluate after the current epoch."""
        epoch = progress.epoch + 1
        return epoch % self.options.evaluate_every == 0 or epoch >= self.options.settings.epochs

    def left(self, progress: TrainerState) -> float | None:
        """Returns the estimated seconds, evaluations included, until all epochs are done; None before the first
        step."""
        done = progress.step - self._first
        left = max(self.updates * self.options.settings.epochs - progress.step, 0)
        return (time.monotonic() - self._begun) / done * left if done else None


def is_out_of_patience(progress: TrainerState, patience: int | None, evaluate_every: int) -> bool:
    """Whether dev has not improved for `patience` evaluations."""
    stale = progress.epoch - progress.best_epoch
    return patience is not None and bool(progress.dev) and stale >= patience * evaluate_every
