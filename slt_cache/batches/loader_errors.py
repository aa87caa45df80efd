"""What the processes that read clips for a training die of, and what keeps them from starting: errors of one line."""

import errno
import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slt_cache.children import ending, likely_cause
from slt_cache.errors import SltCacheError

TASK = "a process that reads clips for the training"
FEWER = "Run the same command with fewer of them (--set compute.workers=1, or 0 for none)."
PERHAPS = "If the system killed it, the machine has run out of memory."
SHARED_MEMORY = Path("/dev/shm")
"""Through which batches come from other processes; containers have often 64 MB of it."""
LEAST_SHARED = 1_000_000
"""Bytes; with less not even the loader's own locks are sure to find room."""
KILLED = re.compile(r"DataLoader worker \(pid (\d+)\) is killed by signal: (.+?)\. ")
EXITED = re.compile(r"DataLoader worker \(pid\(?s?\)? ([\d, ]+)\) exited unexpectedly(?: with exit code (\d+))?")
"""What torch says of a process that has ended."""
IN_PROCESS = "DataLoader worker process"
"""What torch says of an error that was raised in one."""
NO_MEMORY = ("not enough memory", "can't allocate memory", "out of memory")


class LoaderFailed(SltCacheError):
    """Processes that read clips have ended, or found no room; the training itself is whole."""


def loader_failure(error: BaseException) -> LoaderFailed | None:
    """What torch's loader reports, in a line with what to do; None for any other error."""
    text = str(error)
    if isinstance(error, LoaderFailed):
        return error
    if found := KILLED.search(text):
        code = -_signal_of(found[2])
        advice = f"{_shared_memory()} {FEWER}" if code == -signal.SIGBUS else FEWER
        return LoaderFailed(_sentences(f"{TASK} (process {found[1]}) {ending(code)}.", likely_cause(code), advice))
    if found := EXITED.search(text):
        how = f"ended with exit code {found[2]}." if found[2] else f"ended. {PERHAPS}"
        return LoaderFailed(f"{TASK} (process {found[1]}) {how} {FEWER}")
    if "shared memory" in text:
        return LoaderFailed(f"{TASK} has found no room in shared memory for a batch. {_shared_memory()} {FEWER}")
    if IN_PROCESS in text and (isinstance(error, MemoryError) or any(words in text for words in NO_MEMORY)):
        return LoaderFailed(f"{TASK} has run out of memory. {FEWER}")
    return None


@contextmanager
def starting_loader(workers: int) -> Iterator[None]:
    """For the start of so many processes. Raises LoaderFailed if there is no room for what they share."""
    if workers and SHARED_MEMORY.is_dir() and shutil.disk_usage(SHARED_MEMORY).free < LEAST_SHARED:
        raise LoaderFailed(_no_room())
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.ENOMEM):
            raise LoaderFailed(_no_room()) from error
        raise


def _no_room() -> str:
    return f"The processes that read clips for the training find no room in shared memory. {_shared_memory()} {FEWER}"


def _shared_memory() -> str:
    if not SHARED_MEMORY.is_dir():
        return ""
    usage = shutil.disk_usage(SHARED_MEMORY)
    return (
        f"{SHARED_MEMORY} has {usage.total / 1e6:,.1f} MB, {usage.free / 1e6:,.1f} MB of it free now; "
        "give it more (docker run --shm-size=8g)."
    )


def _signal_of(description: str) -> int:
    """Its number, from what strsignal(3) says of it."""
    return next((int(one) for one in signal.Signals if signal.strsignal(one) == description), signal.SIGKILL)


def _sentences(*parts: str) -> str:
    return " ".join(filter(None, parts))
