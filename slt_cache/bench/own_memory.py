"""Peak of the memory that is a process's own, without the pages of mapped files."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from slt_cache.device import status_bytes

ANONYMOUS = "RssAnon"
"""Resident bytes that belong to no file."""
LOOK = 0.05
"""Seconds between two looks: the system keeps the peak of all resident pages only."""


@contextmanager
def own_memory() -> Iterator[Callable[[], int | None]]:
    """Yields a function that returns the largest number of bytes that were this process's own in the block, so far;
    None where the system does not tell."""
    peak, done = status_bytes(ANONYMOUS), threading.Event()

    def look() -> int | None:
        nonlocal peak
        found = status_bytes(ANONYMOUS)
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
