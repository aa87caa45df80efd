"""What the pipeline reports while it works: messages through `logging`, and bars on a terminal. Only the main process
reports.

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
"""Between two lines of progress where there is no terminal."""
SHORT_SECONDS = 0.5
"""What is done sooner needs no bar."""

logger = logging.getLogger("slt_cache")
_waiting: list[str] = []


class StderrHandler(logging.Handler):
    """Writes messages to stderr, above any bar."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)
        sys.stderr.flush()


def log_to_stderr() -> None:
    """Shows messages on stderr, as the command line does. Without it they go to whatever `logging` is set to."""
    if not any(isinstance(handler, StderrHandler) for handler in logger.handlers):
        logger.addHandler(StderrHandler())
        logger.setLevel(logging.INFO)
        logger.propagate = False


def log_first(line: str) -> None:
    """Keeps a line to log before all others, once there is any: a command that refuses its input says only why."""
    _waiting.append(line)


def log(line: str) -> None:
    """Logs a line of progress."""
    if _waiting:
        log_waiting()
    if is_main_process():
        logger.info("%s", line)


def log_waiting() -> None:
    """Logs what `log_first` was given, once."""
    lines = list(_waiting)
    _waiting.clear()
    for line in lines:
        log(line)


@contextmanager
def progress_counter(
    what: str, total: int, done: int, unit: str = "clip", quiet: bool = False
) -> Iterator[Callable[[int], None]]:
    """Gives a function to call with how many more are done since the beginning: a bar on a terminal, and elsewhere a
    line now and then. With `quiet` it shows nothing."""
    with progress_bar(what, unit, quiet, total, done) as show:
        yield lambda more: show(min(done + more, total), total)


@contextmanager
def progress_steps(what: str, total: int, unit: str) -> Iterator[Callable[[], None]]:
    """Gives a function to call after each of so many steps."""
    done = count(1)
    with progress_counter(what, total, 0, unit) as show:
        yield lambda: show(next(done))


@contextmanager
def progress_bar(
    what: str, unit: str = "clip", quiet: bool = False, total: int | None = None, begun: int = 0
) -> Iterator[Callable[[int, int], None]]:
    """Gives a function to call with (done, total): a bar with its rate and the time left on a terminal, and elsewhere a
    line now and then. `total` is what is known of it before; `begun` were done before, and count in no rate."""
    quiet = quiet or not is_main_process() or logger.level > logging.INFO
    bar = tqdm(
        desc=what,
        unit=unit,
        total=total,
        initial=begun,
        disable=quiet or None,  # None: where stderr is no terminal
        leave=False,
        delay=SHORT_SECONDS,
        dynamic_ncols=True,
    )
    said = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal said
        bar.total = total
        bar.update(done - bar.n)
        if bar.disable and not quiet and time.monotonic() - said > QUIET_SECONDS:
            said = time.monotonic()
            log(f"{what}: {done:,} of {total:,} {unit}s")

    try:
        yield show
    finally:
        bar.close()


def size_text(size: float) -> str:
    """Returns a number of bytes as it is shown, such as `1.3 GB`."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.0f} MB"
