"""Handling of Ctrl-C and SIGTERM, which clusters send, during training."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from slt_cache.forks import left_to_parent

STOPPING = (signal.SIGINT, signal.SIGTERM)
CHILD_ENDED: Any = getattr(signal, "SIGCHLD", None)
"""Signal of an ended child process; None on Windows."""
GRACE = 1.0
"""Seconds by which a signal to all processes of a job may reach the video readers before this process."""


class Interrupts:
    """Context that turns both signals into one KeyboardInterrupt, raised after any `held` block. Does nothing outside
    the main thread, which alone receives signals.

    With `deferred`, signals are only recorded, since one of several processes must not stop while others wait for it:
    once all have agreed, `stop` raises."""

    def __init__(self, deferred: bool = False) -> None:
        self.deferred = deferred
        self.process = os.getpid()
        self._before: dict[int, Any] = {}
        self._held = False
        self._asked = False
        self._raised = False
        self._on_child: Any = None

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            wanted = [
                number for number in STOPPING if signal.getsignal(number) is not signal.SIG_IGN
            ]  # ignored under nohup
            self._before = {number: signal.signal(number, self._on_signal) for number in wanted}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._on_child is not None:
            signal.signal(CHILD_ENDED, self._on_child)

    @property
    def asked(self) -> bool:
        """Whether a signal has arrived."""
        return self._asked

    def stop(self) -> None:
        """Raises KeyboardInterrupt, whether or not this process received the signal."""
        self._raised = True
        self.leave_children()
        raise KeyboardInterrupt

    def leave_children(self) -> None:
        """Ignores ending loader processes from now on: the signal or the end of training stops them, and saving must
        not be interrupted."""
        if self._before and self._on_child is None:
            self._on_child = self._hold_children([])

    @contextmanager
    def held(self) -> Iterator[None]:
        """Protects a block from interruption by the signals and by torch's loaders, which raise an error wherever the
        program is when one of their processes dies."""
        ended: list[int] = []
        self._held = True
        on_child = self._hold_children(ended)
        try:
            yield
        finally:
            if on_child is not None:
                signal.signal(CHILD_ENDED, on_child)
            self._held = False
        if self.deferred:
            return  # a dead loader process is noticed at the next batch
        if self._asked:
            self._raise()
        if ended and on_child is not None:
            with self.giving_way():
                on_child(CHILD_ENDED, None)

    @contextmanager
    def giving_way(self) -> Iterator[None]:
        """Runs a block that fails if its reader processes die; reports an interruption instead if a signal to all
        killed them."""
        try:
            yield
        except RuntimeError:
            if self._before:
                time.sleep(GRACE)  # the signal, if it comes, is raised here
            if self._asked:
                self.stop()
            raise

    def _hold_children(self, ended: list[int]) -> Callable[[int, FrameType | None], Any] | None:
        on_child = signal.getsignal(CHILD_ENDED) if CHILD_ENDED is not None and self._before else None
        if not callable(on_child):
            return None
        signal.signal(CHILD_ENDED, lambda number, frame: ended.append(number))
        return on_child

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if left_to_parent(number, self.process):
            return
        self._asked = True
        if not self._held and not self.deferred:
            self._raise()

    def _raise(self) -> None:
        if not self._raised:  # a second one would interrupt the saving that the first one started
            self.stop()
