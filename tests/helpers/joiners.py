"""Processes that join an extraction, forked from one server that has loaded the library once."""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.helpers.preloaded import LATE

STALLS = {"part": "slt_cache.pipeline.split_work.SplitWork._write", "file": "slt_cache.pipeline.extract.assemble"}
"""What a process may be about to do when it stalls: write its first part, or assemble the file."""


def start_joiner(log: Path, *words: object, stalls_at: str | None = None, days: float = 0.0) -> Any:
    """Starts `slt-cache` with these words, on whose clock it is `days` later; what it says goes to `log`. One
    that stalls makes a file `log.stalled` first, and then waits to be ended."""
    context: Any = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LATE)
    process = context.Process(target=_join, args=(log, list(map(str, words)), stalls_at, days))
    process.start()
    return process


def stalled(log: Path) -> Path:
    return log.with_name(f"{log.name}.stalled")


def wait_for(path: Path, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} does not appear"
        time.sleep(0.02)


@contextmanager
def stalling(log: Path, *words: object, at: str = "part") -> Iterator[Any]:
    """A process that has joined and stalls; it is killed in the end."""
    process = start_joiner(log, *words, stalls_at=at)
    try:
        wait_for(stalled(log))
        yield process
    finally:
        process.kill()
        process.join()


def exit_codes(processes: list[Any], seconds: float = 120) -> list[int]:
    for process in processes:
        process.join(seconds)
        process.kill()
        process.join()
    return [process.exitcode for process in processes]


def _join(log: Path, words: list[str], stalls_at: str | None, days: float) -> None:
    import torch
    from slt_cache.cli import main

    torch.set_num_threads(1)
    for stream in (1, 2):
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    if stalls_at is not None:
        _stall(STALLS[stalls_at], stalled(log))
    now = time.time
    time.time = lambda: now() + 86400 * days
    sys.argv = ["slt-cache", *words]
    main()


def _stall(name: str, mark: Path) -> None:
    from pkgutil import resolve_name

    place, _, attribute = name.rpartition(".")

    def stall(*_: Any) -> None:
        mark.touch()
        while True:
            signal.pause()

    setattr(resolve_name(place), attribute, stall)
