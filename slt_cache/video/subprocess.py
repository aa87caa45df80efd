"""Processes files in a subprocess: a file that crashes or hangs a library affects only itself."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from slt_cache.children import belong_to, starting
from slt_cache.video.stream import FREE_MEMORY, REPAIR

METHOD = "fork" if sys.platform == "linux" else "spawn"
"""Start method, as in torch's loaders: fork shares what is already loaded; spawn where it is not the default."""
PATIENCE = 300
"""Seconds without an answer after which a process is killed."""
FAULTS = frozenset({"SIGSEGV", "SIGBUS", "SIGABRT", "SIGILL", "SIGFPE", "SIGTRAP"})
"""Signals that a faulty library causes in its own process."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class WorkerDied(Exception):
    """Raised if the process died or hung; the message says how."""


class Died(WorkerDied):
    """Raised if the process died. Another try may succeed if memory had run out or somebody killed it."""

    def __init__(self, exitcode: int, who: str = "the decoder", detail: str = ""):
        """Describes the exit code of a joined process; negative ones are signals. `detail` is what it printed last."""
        self.killed = False
        if exitcode >= 0:
            super().__init__(f"{who} crashed on it twice (exit code {exitcode}){detail and f': {detail}'}")
            return
        name = next((one.name for one in signal.Signals if one == -exitcode), f"signal {-exitcode}")
        self.killed = name not in FAULTS
        what = "the process that read it was killed twice" if self.killed else f"{who} crashed on it twice"
        cause = "; the usual cause is that the machine ran out of memory" if name == "SIGKILL" else ""
        super().__init__(f"{what} ({name}){cause}")

    @property
    def advice(self) -> str:
        return FREE_MEMORY if self.killed else REPAIR


def map_in_subprocess(work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result | WorkerDied]:
    """Yields what `work` returns for each item, in order; WorkerDied if its process hangs, or dies or raises twice. One
    process handles all items, and is replaced when it dies; everything must be picklable."""
    done, tried = 0, False
    while done < len(items):
        for answer in _answers(work, items[done:]):
            if isinstance(answer, Died) and not tried:
                tried = True
                break
            done, tried = done + 1, False
            yield answer


def _answers(work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result | WorkerDied]:
    """Yields the answers of one process, up to the first WorkerDied."""
    context: Any = multiprocessing.get_context(METHOD)
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(theirs, work, items, os.getpid()), daemon=True)
    with starting(tracked=METHOD == "spawn"):
        process.start()
    theirs.close()
    try:
        for _ in items:
            if not ours.poll(PATIENCE):
                yield WorkerDied(f"the decoder gave no answer in {PATIENCE} seconds")
                return
            try:
                answer = ours.recv()
            except (EOFError, OSError):  # the latter if it died in the middle of its answer
                process.join()
                yield Died(process.exitcode)
                return
            yield answer
    finally:
        process.kill()
        process.join()
        ours.close()


def _work(connection: Connection, work: Callable[[Item], Any], items: Sequence[Item], parent: int) -> None:
    belong_to(parent)
    for item in items:
        connection.send(work(item))
