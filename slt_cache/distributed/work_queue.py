"""Work queue of processes that share one task, on one or several machines.

`torchrun` starts them and sets their ranks in the environment; without it a process is alone. They communicate through
torchrun's key-value store rather than files: a killed process's claims end with the run."""

import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from slt_cache.errors import SltCacheError

FOREVER = timedelta(days=30)


@contextmanager
def requiring_others() -> Iterator[None]:
    """Runs a block that only fails if another process is gone."""
    try:
        yield
    except RuntimeError as error:
        raise SltCacheError(f"another process of this run has ended; its message says why. ({error})") from error


@dataclass(frozen=True)
class WorkQueue:
    """View of the shared work queue from one process."""

    rank: int = 0
    size: int = 1
    store: Any = None
    """Store of torch.distributed; None for a single process."""
    _counts: Counter[str] = field(default_factory=Counter)
    """Counts of a single process."""

    @classmethod
    def from_environment(cls) -> "WorkQueue":
        """Connects to the processes that torchrun started; a single process otherwise."""
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size == 1 or "RANK" not in os.environ:
            return cls()
        from torch.distributed.distributed_c10d import PrefixStore
        from torch.distributed.rendezvous import rendezvous

        rank = int(os.environ["RANK"])
        store, rank, size = next(iter(rendezvous("env://", rank, size, timeout=FOREVER)))
        # A restarted run must not read what its predecessor left.
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        return cls(rank, size, PrefixStore(f"slt-cache/{attempt}", store))

    @property
    def is_main_process(self) -> bool:
        """Whether this is the process that plans, assembles and logs."""
        return self.rank == 0

    def publish(self, name: str, value: Any) -> None:
        """Publishes a value to the others; called by the main process, or by any if all publish the same."""
        if self.store is not None:
            self.store.set(name, json.dumps(value))

    def is_published(self, name: str) -> bool:
        """Returns whether any process has published the name; does not wait."""
        return self.store is not None and bool(self.store.check([name]))

    def await_published(self, name: str) -> Any:
        """Waits for a published value and returns it. Raises SltCacheError if the process that holds the store is
        gone."""
        with requiring_others():
            self.store.wait([name], FOREVER)
            return json.loads(self.store.get(name))

    def claim_next(self, name: str, count: int) -> Iterator[int]:
        """Yields numbers below `count`, each claimed by one process only."""
        if self.store is None:
            yield from range(count)
            return
        while (number := self.store.add(f"{name}/claimed", 1) - 1) < count:
            yield number

    def count(self, name: str, more: int) -> int:
        """Adds to a sum over all processes and returns it."""
        if self.store is not None:
            return int(self.store.add(f"{name}/count", more))
        self._counts[name] += more
        return self._counts[name]

    def await_all(self, name: str) -> Iterator[bool]:
        """Marks this process as done. The main process waits for the others, yielding twice a second whether one of
        their numbers may be claimed again, which torchrun's may not."""
        if self.store is None:
            return
        self.store.add(f"{name}/done", 1)
        while self.is_main_process and self.store.add(f"{name}/done", 0) < self.size:
            yield False
            time.sleep(0.5)

    def holds(self, name: str, number: int) -> bool:
        """Returns whether a claimed number is still this process's to finish."""
        return True

    def finish(self, name: str, number: int) -> None:
        """Marks a claimed number as done."""

    def done_by_others(self, name: str, sizes: Sequence[int]) -> int:
        """Returns the sum of the `sizes` of the numbers that others have done, unless it is in `count`."""
        return 0

    def share(self, name: str) -> str:
        """Returns what to add to a line of progress about this process's share; empty if the line says it."""
        return ""
