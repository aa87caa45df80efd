"""Synchronization of processes before every optimizer step: target tokens, whether to save, whether to stop."""

import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Any

from slt_cache.batches.worker_errors import loader_failure
from slt_cache.distributed.processes import all_reduce_sum, is_main_process, size
from slt_cache.errors import SltCacheError
from slt_cache.training.signals import Interrupts
from slt_cache.training.state import TrainingState
from slt_cache.training.task import Task, TrainerOptions


@dataclass
class Clock:
    """Clock of one process; the main process's is the one that is saved."""

    begun: float
    """Start time of the training, had it not been interrupted."""
    saved: float
    """Time at which the state was last saved."""

    @classmethod
    def running(cls, seconds: float) -> "Clock":
        """Starts the clock of a training that has taken this many seconds in earlier runs."""
        now = time.monotonic()
        return cls(now - seconds, now)

    def seconds(self) -> float:
        """Returns the seconds since the start."""
        return time.monotonic() - self.begun

    def due(self, every: float) -> bool:
        return is_main_process() and time.monotonic() - self.saved >= every

    def state_is_saved(self) -> None:
        self.saved = time.monotonic()


@dataclass(frozen=True)
class MicroBatches:
    """This rank's shard of the micro-batches of an optimizer step, and what all ranks agreed on."""

    batches: list[Any]
    tokens: int
    """Target tokens over all processes."""
    save: bool
    clips: int = 0
    """Clips that count, over all processes."""

    @property
    def units(self) -> int:
        """Approximate frames, steps or tokens over all processes."""
        return int(sum(batch.size for batch in self.batches)) * size()


def groups(
    task: Task, options: TrainerOptions, state: TrainingState, interrupts: Interrupts, clock: Clock
) -> Iterator[MicroBatches]:
    """Yields the micro-batches of each optimizer step, from the current position in the epoch."""
    resumed = state.progress.batch > 0
    batches = iter(task.batches(state.progress.epoch + 1, state.progress.batch))
    while True:
        loaded, error = _load(batches, options.settings.accumulate, interrupts)
        if not loaded and error is None:
            return  # after the same batch in all processes
        stop = interrupts.asked or isinstance(error, KeyboardInterrupt)
        counts = [sum(batch.targets.tokens for batch in loaded), sum(batch.targets.clips for batch in loaded)]
        agreed = [*counts, clock.due(options.save_seconds), stop]
        with interrupts.held() if size() > 1 else nullcontext():
            tokens, clips, save, stopping = all_reduce_sum(agreed, error if isinstance(error, Exception) else None)
        if stopping:
            interrupts.stop()
        if resumed:
            state.restore_random()  # only now: a starting loader draws random numbers, as at the epoch's start
            resumed = False
        yield MicroBatches(loaded, int(tokens), bool(save), int(clips))


def _load(batches: Iterator[Any], count: int, interrupts: Interrupts) -> tuple[list[Any], BaseException | None]:
    """Loads the next batches; empty at the end of the epoch. With several processes, errors are returned, since one
    must not fail or stop alone."""
    try:
        with interrupts.giving_way():
            return list(islice(batches, count)), None
    except (SltCacheError, RuntimeError, MemoryError, KeyboardInterrupt) as error:
        if size() == 1:
            raise
        return [], loader_failure(error) or error


def stop_together(interrupts: Interrupts) -> None:
    """Stops after an epoch if any process was asked to."""
    if size() > 1 and all_reduce_sum([interrupts.asked])[0]:
        interrupts.stop()
