"""Processes that share one task, on one machine or several: who does what, and when all have done theirs.

`torchrun` starts them and tells each its rank by the environment; without it a process is alone. They talk through the
key-value store that torchrun keeps, not through files: a claim that a killed process made dies with the run."""

import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

FOREVER = timedelta(days=30)


@dataclass(frozen=True)
class WorkQueue:
    """This process among the others."""

    rank: int = 0
    size: int = 1
    store: Any = None
    """A torch.distributed store; None for a process that is alone."""
    _counts: Counter[str] = field(default_factory=Counter)
    """Of a process that is alone."""

    @classmethod
    def from_environment(cls) -> "WorkQueue":
        """The team that torchrun has started; a process alone where it has not."""
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size == 1 or "RANK" not in os.environ:
            return cls()
        from torch.distributed.distributed_c10d import PrefixStore
        from torch.distributed.rendezvous import rendezvous

        rank = int(os.environ["RANK"])
        store, rank, size = next(iter(rendezvous("env://", rank, size, timeout=FOREVER)))
        # A restarted run must not read what the one before it has left.
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        return cls(rank, size, PrefixStore(f"slt-cache/{attempt}", store))

    @property
    def is_main_process(self) -> bool:
        """Whether this is the one process that plans, assembles and speaks."""
        return self.rank == 0

    def publish(self, name: str, value: Any) -> None:
        """Tells the others something; called by the leader, or by any of them where they tell the same."""
        if self.store is not None:
            self.store.set(name, json.dumps(value))

    def is_published(self, name: str) -> bool:
        """Whether any of the others has told it; does not wait."""
        return self.store is not None and bool(self.store.check([name]))

    def await_published(self, name: str) -> Any:
        """What the leader has told; waits for it."""
        self.store.wait([name], FOREVER)
        return json.loads(self.store.get(name))

    def claim_next(self, name: str, count: int) -> Iterator[int]:
        """Numbers below `count`, each given to one process of the team, when it asks for its next one."""
        if self.store is None:
            yield from range(count)
            return
        while (number := self.store.add(f"{name}/claimed", 1) - 1) < count:
            yield number

    def count(self, name: str, more: int) -> int:
        """Adds to a sum over all processes, and returns it."""
        if self.store is not None:
            return int(self.store.add(f"{name}/count", more))
        self._counts[name] += more
        return self._counts[name]

    def await_all(self, name: str) -> Iterator[None]:
        """Says that this process has done its part. The leader waits for the others, and yields twice a second."""
        if self.store is None:
            return
        self.store.add(f"{name}/done", 1)
        while self.is_main_process and self.store.add(f"{name}/done", 0) < self.size:
            yield
            time.sleep(0.5)
