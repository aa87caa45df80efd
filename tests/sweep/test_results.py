"""What a sweep says of the time from pixels."""

from types import SimpleNamespace
from typing import Any

import pytest

from slt_cache.sweep.results import RUNNING, pixels_line


@pytest.mark.parametrize(
    ("running", "ratio", "said"),
    [
        (1, None, "from pixels: estimated once all trials are done"),
        (0, None, "from pixels: not estimated, without videos"),
        (0, 7.0, "the same trials from pixels: about 14.0 hours (estimated: x 7.0, the ratio of bench llm)"),
    ],
)
def test_it_is_estimated_once_no_trial_is_running(running: int, ratio: float | None, said: str) -> None:
    hours = None if ratio is None else 2 * ratio
    results: Any = SimpleNamespace(seconds=7200.0, ratio=ratio, hours_from_pixels=hours, counts={RUNNING: running})
    assert pixels_line(results) == f"from the cache: 2.00 hours; {said}"
