"""One-line errors for data-loader processes that die or cannot start."""

import re
import shutil
import signal

from slt_cache.children import FEWER, SHARED_MEMORY, ending, likely_cause, shared_memory
from slt_cache.errors import SltCacheError

TASK = "a process that reads clips for the training"
PERHAPS = "If the system killed it, the machine ran out of memory."
LEAST_SHARED = 1_000_000
"""Bytes of shared memory below which even the loader's own locks may not fit."""
KILLED = re.compile(r"DataLoader worker \(pid (\d+)\) is killed by signal: (.+?)\. ")
EXITED = re.compile(r"DataLoader worker \(pid\(?s?\)? ([\d, ]+)\) exited unexpectedly(?: with exit code (\d+))?")
"""Torch's messages of a process that has ended."""
IN_PROCESS = "DataLoader worker process"
"""Torch's message of an error raised in a worker process."""
NO_MEMORY = ("not enough memory", "can't allocate memory", "out of memory")


class LoaderFailed(SltCacheError):
    """Error of the processes that read clips, which ended or found no room; the training itself is intact."""


def loader_failure(error: BaseException) -> LoaderFailed | None:
    """Translates an error of torch's loader into one line with advice; None for any other error."""
    text = str(error)
    if isinstance(error, LoaderFailed):
        return error
    if found := KILLED.search(text):
        code = -_signal_of(found[2])
        advice = f"{shared_memory()} {FEWER}" if code == -signal.SIGBUS else FEWER
        return LoaderFailed(_sentences(f"{TASK} (process {found[1]}) {ending(code)}.", likely_cause(code), advice))
    if found := EXITED.search(text):
        how = f"ended with exit code {found[2]}." if found[2] else f"ended. {PERHAPS}"
        return LoaderFailed(f"{TASK} (process {found[1]}) {how} {FEWER}")
    if "shared memory" in text:
        return LoaderFailed(f"{TASK} found no room in shared memory for a batch. {shared_memory()} {FEWER}")
    if IN_PROCESS in text and (isinstance(error, MemoryError) or any(words in text for words in NO_MEMORY)):
        return LoaderFailed(f"{TASK} ran out of memory. {FEWER}")
    return None


def require_shared_memory(workers: int) -> None:
    """Raises LoaderFailed if this many workers would have no shared memory, for which torch would wait forever."""
    if workers and SHARED_MEMORY.is_dir() and shutil.disk_usage(SHARED_MEMORY).free < LEAST_SHARED:
        raise LoaderFailed(f"{TASK} needs room in shared memory. {shared_memory()} {FEWER}")


def _signal_of(description: str) -> int:
    """Returns the number of a signal from its strsignal(3) description."""
    return next((int(one) for one in signal.Signals if signal.strsignal(one) == description), signal.SIGKILL)


def _sentences(*parts: str) -> str:
    return " ".join(filter(None, parts))
