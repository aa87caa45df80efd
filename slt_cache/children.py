"""Processes that this one starts: they end when it does, leave Ctrl-C to it, and how they ended is said in words.

Knows nothing of what they do."""

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

PR_SET_PDEATHSIG = 1
"""Of prctl(2)."""
LOOK = 1.0
"""Seconds between two looks at whether the parent is still there, on systems that do not report its end."""
MEMORY = "Usually the machine has run out of memory"


@contextmanager
def starting() -> Iterator[None]:
    """Start processes within it: they inherit that Ctrl-C is blocked, so that not even one which is still importing
    its modules answers it with a traceback."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def belong_to(parent: int) -> None:
    """For a new process, called first: Ctrl-C is its parent's to handle, and it ends with its parent, even a killed
    one. `parent` is the process number that the parent has seen of itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        _end_without(parent)  # it may have been killed before
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while True:
        _end_without(parent)
        time.sleep(LOOK)


def _end_without(parent: int) -> None:
    if os.getppid() != parent:
        os._exit(1)


def ending(exit_code: int | None) -> str:
    """How a process ended, in words, from the exit code that `multiprocessing` gives it."""
    if exit_code is None:
        return "does not answer"
    if exit_code >= 0:
        return f"ended with exit code {exit_code}"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = f"signal {-exit_code}"
    return f"was killed by {name}"


def likely_cause(exit_code: int | None) -> str:
    """A sentence on the usual cause of that ending; empty if there is none."""
    if exit_code == -signal.SIGKILL:
        return f"{MEMORY}."
    if exit_code == -signal.SIGBUS:
        return "Usually /dev/shm or another file system in memory is full."
    return ""
