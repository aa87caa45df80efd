"""What the pipeline says while it works: to stderr, bars on a terminal and plain lines elsewhere. Of several processes
one speaks."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

from slt_cache.processes import leads

QUIET_SECONDS = 30
"""Between two lines of progress where there is no terminal."""


def say(line: str) -> None:
    """One line of progress, above any bar that runs."""
    if leads():
        tqdm.write(line, file=sys.stderr)
        sys.stderr.flush()


@contextmanager
def counting(
    what: str, total: int, done: int, unit: str = "clip", quiet: bool = False
) -> Iterator[Callable[[int], None]]:
    """Gives a function to call with how many more are done since the beginning: a bar on a terminal, and elsewhere a
    line now and then. With `quiet` it shows nothing."""
    quiet = quiet or not leads()
    bar = tqdm(desc=what, unit=unit, total=total, initial=done, disable=quiet or None, leave=False)
    said = time.monotonic()

    def show(more: int) -> None:
        nonlocal said
        bar.update(done + more - bar.n)
        if bar.disable and not quiet and time.monotonic() - said > QUIET_SECONDS:
            said = time.monotonic()
            say(f"{what}: {done + more:,} of {total:,} {unit}s")

    try:
        yield show
    finally:
        bar.close()


@contextmanager
def progress_bar(what: str, unit: str = "clip") -> Iterator[Callable[[int, int], None]]:
    """Gives a function to call with (done, total)."""
    bar = tqdm(desc=what, unit=unit, disable=None if leads() else True, leave=False)

    def show(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    try:
        yield show
    finally:
        bar.close()
