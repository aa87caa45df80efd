"""Peak of the memory that is a process's own, without the pages of mapped files."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

STATUS = Path("/proc/self/status")
LOOK = 0.05
"""Seconds between two looks: the system keeps the peak of all resident pages only."""


@contextmanager
def own_memory() -> Iterator[Callable[[], int | None]]:
    """Yields a function that returns the largest number of bytes that were this process's own in the block, so far;
    None where the system does not tell."""
    peak, done = _anonymous(), threading.Event()

    def look() -> int | None:
        nonlocal peak
        found = _anonymous()
        peak = found if peak is None or found is None else max(peak, found)
        return peak

    def watch() -> None:
        while not done.wait(LOOK):
            look()

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        yield look
    finally:
        done.set()
        watching.join()


def _anonymous() -> int | None:
    """Returns the bytes of this process that belong to no file (Linux)."""
    if not STATUS.is_file():
        return None
    lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    return int(lines["RssAnon"].split()[0]) * 1024 if "RssAnon" in lines else None
