"""Forks leave Ctrl-C to their parent, whose handler they inherit, and end by SIGTERM."""

import os
import signal
from types import FrameType

import pytest

from slt_cache.forks import left_to_parent


@pytest.mark.parametrize(("number", "ends"), [(signal.SIGINT, 0), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_handler_is_for_the_process_that_set_it(number: signal.Signals, ends: int) -> None:
    heard: list[int] = []
    parent = os.getpid()

    def hear(number: int, frame: FrameType | None) -> None:
        if not left_to_parent(number, parent):
            heard.append(number)

    before = signal.signal(number, hear)
    try:
        child = os.fork()
        if child == 0:
            signal.raise_signal(number)
            os._exit(len(heard))
        signal.raise_signal(number)
    finally:
        signal.signal(number, before)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == ends
    assert heard == [number]
