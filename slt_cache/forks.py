"""Signals in forked processes, which inherit the handlers of the process that they were forked from."""

import os
import signal


def left_to_parent(number: int, parent: int) -> bool:
    """Returns whether a handler of the process `parent` runs in a fork of it, which leaves Ctrl-C to the parent.
    SIGTERM ends the fork, as it would without a handler."""
    if os.getpid() == parent:
        return False
    if number == signal.SIGTERM:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    return True
