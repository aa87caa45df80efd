"""Progress reports: messages through `logging`, and bars on a terminal, from the main process only.

`logging.getLogger("slt_cache").setLevel("WARNING")` silences both."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

from tqdm import tqdm

from slt_cache.distributed.processes import is_main_process

QUIET_SECONDS = 30
"""Seconds between two lines of progress without a terminal."""
SHORT_SECONDS = 0.5
"""Seconds below which no bar is shown."""

logger = logging.getLogger("slt_cache")
_waiting: list[str] = []


class StderrHandler(logging.Handler):
    """Handler that writes messages to stderr, above any bar."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)
        sys.stderr.flush()


def log_to_stderr() -> None:
    """Shows messages on stderr, as the command line does. Otherwise they go wherever `logging` is configured to send
    them."""
    if not any(isinstance(handler, StderrHandler) for handler in logger.handlers):
        logger.addHandler(StderrHandler())
        logger.setLevel(logging.INFO)
        logger.propagate = False


def log_first(line: str) -> None:
    """Defers a line until the first logged one: a command that refuses its input only says why."""
    _waiting.append(line)


def log(line: str) -> None:
    """Logs a line of progress."""
    if _waiting:
        log_waiting()
    if is_main_process():
        logger.info("%s", line)


def log_waiting() -> None:
    """Logs the lines deferred by `log_first`, once."""
    lines = list(_waiting)
    _waiting.clear()
    for line in lines:
        log(line)


@contextmanager
def progress_counter(
    what: str, total: int, done: int, unit: str = "clip", quiet: bool = False, note: Callable[[], str] = str
) -> Iterator[Callable[[int], None]]:
    """Yields a function that takes how many items are done since the start: a bar on a terminal, otherwise an
    occasional line. With `quiet` it shows nothing."""
    with progress_bar(what, unit, quiet, total, done, note) as show:
        yield lambda more: show(min(done + more, total), total)


@contextmanager
def progress_steps(what: str, total: int, unit: str) -> Iterator[Callable[[], None]]:
    """Yields a function to call after each of `total` steps."""
    done = count(1)
    with progress_counter(what, total, 0, unit) as show:
        yield lambda: show(next(done))


@contextmanager
def progress_bar(
    what: str,
    unit: str = "clip",
    quiet: bool = False,
    total: int | None = None,
    begun: int = 0,
    note: Callable[[], str] = str,
) -> Iterator[Callable[[int, int], None]]:
    """Yields a function of (done, total): a bar with speed and remaining time on a terminal, otherwise an occasional
    line. `total` is what is known in advance; `begun` items were done before, and do not count in the speed. `note`
    returns what to add at the end, if anything."""
    quiet = quiet or not is_main_process() or logger.level > logging.INFO
    bar = tqdm(
        desc=what,
        unit=unit,
        total=total,
        initial=begun,
        disable=quiet or None,  # None: unless stderr is a terminal
        leave=False,
        delay=SHORT_SECONDS,
        dynamic_ncols=True,
    )
    logged = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal logged
        bar.total = total
        bar.set_postfix_str(note(), refresh=False)
        bar.update(done - bar.n)
        if bar.disable and not quiet and time.monotonic() - logged > QUIET_SECONDS:
            logged = time.monotonic()
            log(", ".join(filter(None, (f"{what}: {done:,} of {total:,} {unit}s", note()))))

    try:
        yield show
    finally:
        bar.close()


def size_text(size: float) -> str:
    """Returns a number of bytes as it is shown, such as `1.3 GB`."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.0f} MB"
