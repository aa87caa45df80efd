"""Signs of life of processes that share a folder, a file for each, from which the others see that one is gone.

No two clocks are compared, and no time of a file is read: a process changes the content of its own file every few
seconds, and whoever watches it times on its own monotonic clock how long the content stays the same."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from slt_cache.locks import this_process
from slt_cache.write_errors import write_errors

SIGNS = 6
"""Signs of life in the time of a lease."""
MOST = 10.0
"""Seconds between two signs of life at most, whatever the lease, since others may have a shorter one."""
LEFT = "left"
"""Last sign of a process that has left."""


class _Watched(NamedTuple):
    """What this process knows of another."""

    sign: str
    unchanged: float
    """Seconds for which the sign has been the same, as far as this process looked."""
    looked: float
    """Time of the last look, monotonic."""


class Leases:
    """Signs of life of this process, and those of the others as it sees them."""

    def __init__(self, folder: Path, seconds: float):
        self.folder = folder
        self.seconds = seconds
        """Length of a lease: seconds without a new sign after which a process counts as gone."""
        self.member = uuid4().hex
        """Name of this process among all that share the folder."""
        self._watched: dict[str, _Watched] = {}
        self._ended = threading.Event()

    @contextmanager
    def kept_alive(self) -> Iterator[None]:
        """Gives signs of life while the block runs, from a thread, and the last one after it. A process that is stopped
        gives none."""
        with write_errors(self.folder):
            self._give("0", os.O_CREAT)
        thread = threading.Thread(target=self._give_signs, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()
            with suppress(OSError):
                self._give(LEFT)

    def is_gone(self, member: str) -> bool:
        """Returns whether a process has left, or has given no sign of life for the length of a lease. Call repeatedly:
        the time between two calls counts only up to that between two signs, so that a process which was stopped itself
        does not find all others gone."""
        sign = self._sign_of(member)
        now = time.monotonic()
        before = self._watched.get(member)
        unchanged = 0.0
        if before is not None and before.sign == sign:
            unchanged = before.unchanged + min(now - before.looked, self.seconds / SIGNS)
        self._watched[member] = _Watched(sign, unchanged, now)
        return sign.split()[:1] == [LEFT] or unchanged >= self.seconds

    def names(self) -> list[str]:
        """Returns the names of the processes that have not left."""
        signs = [self._sign_of(path.name).split(maxsplit=1) for path in sorted(self.folder.iterdir())]
        return [sign[1].strip() for sign in signs if len(sign) == 2 and sign[0] != LEFT]

    def _sign_of(self, member: str) -> str:
        """Returns the content of a file; empty if it does not exist."""
        with suppress(OSError):
            return (self.folder / member).read_text(encoding="utf-8", errors="replace")
        return ""

    def _give_signs(self) -> None:
        for number in count(1):
            if self._ended.wait(min(MOST, self.seconds / SIGNS)):
                return
            with suppress(OSError):  # if it lasts, others take over, and this process notices
                self._give(str(number))

    def _give(self, sign: str, flags: int = 0) -> None:
        """Overwrites the file in place: it needs no space on a full disk. Opening and closing it makes NFS pass the
        content on."""
        file = os.open(self.folder / self.member, os.O_WRONLY | os.O_CLOEXEC | flags, 0o666)
        try:
            os.write(file, f"{sign:<20}{this_process()}\n".encode())
        finally:
            os.close(file)
