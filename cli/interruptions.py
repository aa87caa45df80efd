"""Ctrl-C and SIGTERM: they end a command wherever it is, and the last line says what the same command would do.

Imports nothing heavy."""

import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import Enum
from types import FrameType
from typing import Any

from slt_cache.forks import left_to_parent

INTERRUPTED = 130
"""Exit code of a program that Ctrl-C or SIGTERM ended."""
IMPORTS = "<frozen importlib._bootstrap>"
"""File name of the code of Python that imports modules."""


class Interrupted(Enum):
    """What Ctrl-C or SIGTERM leaves of a command."""

    RESUMES = "the same command resumes from what is finished"
    STARTS_OVER = "the same command starts over"
    CLOSES = ""
    """For a command that runs until Ctrl-C ends it."""


class Interruption:
    """Interruption of the command by Ctrl-C or SIGTERM."""

    came = False
    in_import = False
    """Whether it came while a module was being imported, and the command has not ended since."""


class _StopsTheNextImport:
    """Finder that finds nothing, but raises again what a library has dropped while it was being imported: torch does
    so while it loads numpy, and the command would go on as if Ctrl-C had never been pressed."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if Interruption.in_import and threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt


@contextmanager
def noticing_interruptions() -> Iterator[None]:
    """Makes SIGTERM interrupt the block as Ctrl-C does, and remembers that one of them came: a library that is being
    imported may turn it into an error of its own, or drop it."""
    process = os.getpid()

    def interrupt(number: int, frame: FrameType | None) -> None:
        if left_to_parent(number, process) or (number == signal.SIGTERM and Interruption.came):
            return  # SLURM sends it twice; what the first one has begun is ended in order
        Interruption.came, Interruption.in_import = True, _imports(frame)
        signal.default_int_handler(number, frame)

    Interruption.came = Interruption.in_import = False
    # Not if it is ignored, as Ctrl-C is in a shell's background job.
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    ours = [number for number, one in before.items() if one in (signal.default_int_handler, signal.SIG_DFL)]
    again = _StopsTheNextImport()
    sys.meta_path.insert(0, again)
    with suppress(ValueError):  # not the main thread
        for number in ours:
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        sys.meta_path.remove(again)
        for number in ours:
            if signal.getsignal(number) is interrupt:
                signal.signal(number, before[number])


def _imports(frame: FrameType | None) -> bool:
    """Returns whether a module is being imported in the frame or in one that called it."""
    while frame is not None:
        if frame.f_code.co_filename == IMPORTS:
            return True
        frame = frame.f_back
    return False


def interruption(left: Interrupted, options: Mapping[str, Any]) -> str:
    """Returns what to print at the end of an interrupted command, given its options: `--restart` gives up what is saved
    when it is repeated, and a dry run saves nothing."""
    if left is Interrupted.RESUMES and options.get("dry_run"):
        left = Interrupted.STARTS_OVER
    if left is Interrupted.RESUMES and options.get("restart"):
        return "interrupted; the same command without --restart resumes from what was saved, and with it starts over."
    return f"interrupted; {left.value}." if left.value else "interrupted."
