"""What the pipeline says while it works: to stderr, bars on a terminal and plain lines elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm


def say(line: str) -> None:
    """One line of progress, above any bar that runs."""
    tqdm.write(line, file=sys.stderr)
    sys.stderr.flush()


@contextmanager
def progress_bar(what: str, unit: str = "clip") -> Iterator[Callable[[int, int], None]]:
    """Gives a function to call with (done, total)."""
    bar = tqdm(desc=what, unit=unit, disable=None, leave=False)

    def show(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    try:
        yield show
    finally:
        bar.close()
