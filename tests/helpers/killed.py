"""Trainings that end within an epoch as if killed, in the process of the test."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from slt_cache.training.loop import _Training


class Killed(BaseException):
    """As a kill: nothing catches it."""


@contextmanager
def killed_after(updates: int) -> Iterator[None]:
    """Expects the training inside to reach one update more, and ends it there."""
    update, done = _Training._update, 0

    def killing(self: Any, group: Any) -> Any:
        nonlocal done
        done += 1
        if done > updates:
            raise Killed
        return update(self, group)

    with pytest.MonkeyPatch.context() as patched, pytest.raises(Killed):
        patched.setattr(_Training, "_update", killing)
        yield
