"""Ctrl-C and SIGTERM, which clusters send, while a training runs."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

STOPPING = (signal.SIGINT, signal.SIGTERM)
CHILD_ENDED: Any = getattr(signal, "SIGCHLD", None)
"""None on Windows."""
GRACE = 1.0
"""Seconds; a signal to all processes of a job may reach the readers of videos that much before it reaches this one."""


class Interrupts:
    """Both signals as KeyboardInterrupt, once, and never within a `held` block: that is finished first. In a thread
    other than the main one, which gets no signals, it does nothing.

    With `deferred` the signals are only remembered, for one of several processes must not stop where the others wait
    for it: when all have agreed, `stop` raises."""

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
            wanted = [number for number in STOPPING if signal.getsignal(number) is not signal.SIG_IGN]  # as under nohup
            self._before = {number: signal.signal(number, self._on_signal) for number in wanted}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._on_child is not None:
            signal.signal(CHILD_ENDED, self._on_child)

    @property
    def asked(self) -> bool:
        """Whether a signal has come."""
        return self._asked

    def stop(self) -> None:
        """Raises KeyboardInterrupt, whether or not the signal has come to this process."""
        self._raised = True
        self.leave_children()
        raise KeyboardInterrupt

    def leave_children(self) -> None:
        """From now on no error is raised if a loader's process ends: it does so of the signal, or the training ends
        anyway, and what is being saved must be saved whole."""
        if self._before and self._on_child is None:
            self._on_child = self._hold_children([])

    @contextmanager
    def held(self) -> Iterator[None]:
        """What runs in the block is not interrupted: neither by the signals, nor by torch's loaders, which raise an
        error wherever the program is when one of their processes dies."""
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
            return  # a dead process of a loader is noticed when the next batch is asked of it
        if self._asked:
            self._raise()
        if ended and on_child is not None:
            with self.giving_way():
                on_child(CHILD_ENDED, None)

    @contextmanager
    def giving_way(self) -> Iterator[None]:
        """For what fails when processes that read for it die: if they did of a signal to all, that is what to say."""
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
        if os.getpid() != self.process:  # a forked reader: Ctrl-C is its parent's to handle
            if number == signal.SIGTERM:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            return
        self._asked = True
        if not self._held and not self.deferred:
            self._raise()

    def _raise(self) -> None:
        if not self._raised:  # a second one would stop the saving that the first one has begun
            self.stop()
