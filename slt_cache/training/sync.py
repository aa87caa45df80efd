"""What a process does of every update, and what all of them agree on before it: target tokens, whether to save, whether
to stop. One that is alone agrees with itself."""

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
    """Of one process; the leader's is the one that is kept."""

    begun: float
    """When training would have begun, had it not been interrupted."""
    saved: float
    """When the state was last saved in the middle of an epoch or behind it."""

    @classmethod
    def running(cls, seconds: float) -> "Clock":
        """Of a training that has taken so many seconds in earlier runs."""
        now = time.monotonic()
        return cls(now - seconds, now)

    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self.begun

    def due(self, every: float) -> bool:
        return is_main_process() and time.monotonic() - self.saved >= every

    def state_is_saved(self) -> None:
        self.saved = time.monotonic()


@dataclass(frozen=True)
class MicroBatches:
    """This process's share of the batches of an update, and what all processes have agreed on."""

    batches: list[Any]
    tokens: int
    """Target tokens of all processes."""
    save: bool

    @property
    def units(self) -> int:
        """Frames, steps or tokens of all processes, about."""
        return int(sum(batch.size for batch in self.batches)) * size()


def groups(
    task: Task, options: TrainerOptions, state: TrainingState, interrupts: Interrupts, clock: Clock
) -> Iterator[MicroBatches]:
    """The batches of each update, from where the epoch stands."""
    resumed = state.progress.batch > 0
    batches = iter(task.batches(state.progress.epoch + 1, state.progress.batch))
    while True:
        loaded, error = _load(batches, options.settings.accumulate, interrupts)
        if not loaded and error is None:
            return  # behind the same batch in all processes
        stop = interrupts.asked or isinstance(error, KeyboardInterrupt)
        agreed = [sum(batch.targets.tokens for batch in loaded), clock.due(options.save_seconds), stop]
        with interrupts.held() if size() > 1 else nullcontext():
            tokens, save, stopping = all_reduce_sum(agreed, error if isinstance(error, Exception) else None)
        if stopping:
            interrupts.stop()
        if resumed:
            state.restore_random()  # not before: a loader draws when it begins, as it did at the epoch's beginning
            resumed = False
        yield MicroBatches(loaded, int(tokens), bool(save))


def _load(batches: Iterator[Any], count: int, interrupts: Interrupts) -> tuple[list[Any], BaseException | None]:
    """The next batches; none at the end of the epoch. One of several processes does not fail or stop alone: what
    happens to it is returned."""
    try:
        with interrupts.giving_way():
            return list(islice(batches, count)), None
    except (SltCacheError, RuntimeError, MemoryError, KeyboardInterrupt) as error:
        if size() == 1:
            raise
        return [], loader_failure(error) or error


def stop_together(interrupts: Interrupts) -> None:
    """Behind an epoch, where any of several processes has been asked to stop."""
    if size() > 1 and all_reduce_sum([interrupts.asked])[0]:
        interrupts.stop()
