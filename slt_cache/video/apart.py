"""A call in a process of its own: a file that kills or hangs a library costs the call, and nothing else."""

import ctypes
import multiprocessing
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, TypeVar

METHOD = "fork" if sys.platform == "linux" else "spawn"
"""As torch's loaders do: fork shares what is loaded already; where it is not the system's way, spawn."""
PATIENCE = 300
"""Seconds without an answer after which a process is given up."""
PR_SET_PDEATHSIG = 1
"""Of prctl(2)."""
CRASHED = "the decoder crashed on it"

Result = TypeVar("Result")


class NoAnswer(Exception):
    """The process died or hung; says how."""


def call_apart(work: Callable[..., Result], *args: Any) -> Result:
    """What `work(*args)` returns or raises; all of it must be picklable. Raises NoAnswer where it does neither."""
    context: Any = multiprocessing.get_context(METHOD)
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(theirs, work, args), daemon=True)
    process.start()
    theirs.close()
    try:
        if not ours.poll(PATIENCE):
            raise NoAnswer(f"the decoder gave no answer in {PATIENCE} seconds")
        done, found = ours.recv()
    except EOFError:
        raise NoAnswer(CRASHED) from None
    finally:
        process.kill()
        process.join()
        ours.close()
    if not done:
        raise found
    return found


def belong_to_parent() -> None:
    """For a new process: Ctrl-C is its parent's to handle, and on Linux it dies with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _answer(connection: Connection, work: Callable[..., Any], args: tuple[Any, ...]) -> None:
    belong_to_parent()
    try:
        answer = (True, work(*args))
    except Exception as error:
        answer = (False, error)
    connection.send(answer)
