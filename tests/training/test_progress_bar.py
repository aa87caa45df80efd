"""The progress bar of a training."""

from slt_cache.training.progress_bar import duration


def test_durations_are_told_in_hours() -> None:
    assert [duration(seconds) for seconds in (0.4, 61, 3600, 90061)] == ["0:00:00", "0:01:01", "1:00:00", "25:01:01"]
