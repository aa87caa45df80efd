"""Cuts in seconds and other frame rates: which frames they are."""

import numpy as np
import pytest

from slt_cache.video.timeline import Timeline, timeline

IRREGULAR = np.array([0.0, 0.1, 0.15, 0.4, 0.45, 1.0])
"""Seconds; six frames of a phone's video, 5 a second on average."""


@pytest.mark.parametrize(
    ("source", "asked", "expected"),
    [
        (50.0, 25.0, [0, 2, 4, 6, 8]),
        (25.0, 25.0, list(range(10))),
        (25.0, 50.0, [0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 9]),
        (30.0, 20.0, [0, 2, 3, 5, 6, 8, 9]),
        (30.0, 0.1, [0]),
    ],
)
def test_another_rate_shows_the_nearest_frames_and_none_past_the_end(
    source: float, asked: float, expected: list[int]
) -> None:
    assert Timeline(10, source).resampled(range(10), asked) == expected
    assert Timeline(100, source).resampled(range(40, 50), asked) == [40 + index for index in expected]


@pytest.mark.parametrize("source", [7.0, 23.976, 25.0, 29.97, 60.0])
@pytest.mark.parametrize("asked", [1.0, 12.5, 24.0, 25.0, 59.94])
def test_each_step_is_at_most_half_a_frame_from_its_time(source: float, asked: float) -> None:
    frames = range(30, 130)
    shown = Timeline(1000, source).resampled(frames, asked)
    assert len(shown) == max(1, round(100 / source * asked))
    assert shown == sorted(shown)
    for step, index in enumerate(shown):
        distance = abs((index - 30) / source - step / asked)
        assert distance <= 0.5 / source + 1e-4 or index == 129


def test_its_own_rate_changes_nothing() -> None:
    for fps in (23.976, 24.0, 25.0, 30000 / 1001):
        assert Timeline(5000, fps).resampled(range(17, 4711), fps) == list(range(17, 4711))


def test_frames_that_come_irregularly_are_cut_by_their_own_times() -> None:
    found = timeline(6, 25.0, IRREGULAR)
    assert found.fps == 5.0
    assert list(found.cut(None, None)) == [0, 1, 2, 3, 4, 5]
    assert list(found.cut(0.12, 0.44)) == [1, 2, 3]
    assert list(found.cut(0.3, None)) == [3, 4, 5]
    assert list(found.cut(1.05, 9.0)) == [5]
    assert list(found.cut(1.2, 9.0)) == []
    assert found.resampled(range(1, 6), 10.0) == [1, 2, 3, 3, 4, 4, 4, 5, 5, 5, 5]


@pytest.mark.parametrize("fps", [23.976, 25.0, 29.97])
def test_times_that_are_rounded_to_milliseconds_are_regular(fps: float) -> None:
    found = timeline(90_000, fps, np.round(np.arange(90_000) / fps, 3))
    assert found == Timeline(90_000, fps)


@pytest.mark.parametrize("fps", [24.0, 25.0, 29.97])
def test_a_cut_is_the_nearest_frames(fps: float) -> None:
    assert list(Timeline(60, fps).cut(0.5, 1.0)) == list(range(round(0.5 * fps), round(fps)))
    assert list(Timeline(60, fps).cut(1.0, 100.0)) == list(range(round(fps), 60))
    assert not Timeline(60, fps).cut(60 / fps, None)
    assert not Timeline(60, fps).cut(1.0, 1.0)


# --- a clock that does not begin with the first frame, and frames that are held

LATE = Timeline(100, 25.0, begin=0.8)
PAUSED = np.array([0.0, 0.04, 0.08, 0.12, 0.16, 2.16, 2.2, 2.24, 2.28])


def test_a_cut_of_frames_that_begin_late_counts_from_the_clocks_beginning() -> None:
    assert LATE.cut(2.0, 2.2) == range(30, 35)
    assert LATE.cut(None, 1.0) == range(5)
    assert LATE.cut(0.1, 1.0) == range(5)
    assert not LATE.cut(0.0, 0.7)
    assert not LATE.cut(4.8, 9.0)
    assert (LATE.end, LATE.length) == (4.8, 4.0)
    assert LATE.why_empty(0.0, 0.7).endswith("of its 4.80 s; its first frame is shown at 0.80 s")
    assert LATE.resampled(range(30, 35), 50.0) == [30, 31, 31, 32, 32, 33, 33, 34, 34, 34]
    found = timeline(100, 25.0, 0.8 + np.arange(100) / 25)
    assert (found.seconds, found.cut(2.0, 2.2)) == (None, range(30, 35))
    assert found.begin == pytest.approx(0.8)


@pytest.mark.parametrize("begin", [0.0, 0.8])
@pytest.mark.parametrize(("start", "end"), [(1.001, 1.002), (1.021, 1.039), (1.03, 1.05)])
def test_a_cut_that_is_shorter_than_a_frame_has_the_frame_that_is_shown_then(
    begin: float, start: float, end: float
) -> None:
    assert len(Timeline(100, 25.0, begin=begin).cut(begin + start, begin + end)) == 1
    assert Timeline(100, 25.0, begin=begin).cut(begin + start, begin + end)[0] in (25, 26)


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0.5, 0.6, [4]),
        (1.0, 1.3, [4]),
        (2.0, 2.1, [4]),
        (1.9, 2.2, [4, 5]),
        (0.08, 1.0, [2, 3, 4]),
        (None, 0.5, [0, 1, 2, 3, 4]),
        (2.16, None, [5, 6, 7, 8]),
    ],
)
def test_a_frame_that_is_held_through_a_pause_belongs_to_every_cut_of_it(
    start: float | None, end: float | None, expected: list[int]
) -> None:
    assert list(timeline(9, 25.0, PAUSED).cut(start, end)) == expected


def test_a_pause_lasts_as_long_at_another_rate() -> None:
    found = timeline(9, 25.0, PAUSED)
    assert found.resampled(range(9), 25.0).count(4) == 50
    assert found.resampled(range(4, 5), 10.0, 1.0, 1.5) == [4] * 5
    assert found.resampled(range(4, 6), 10.0, 1.0, 2.2)[:11] == [4] * 11


def test_a_last_frame_that_is_held_is_shown_until_the_end() -> None:
    found = timeline(60, 25.0, np.arange(60) / 25, last=3.0)
    assert found.end == pytest.approx(5.36)
    assert list(found.cut(4.0, 4.5)) == [59]
    assert not found.cut(5.4, 6.0)
    assert list(found.cut(1.0, 1.2)) == [25, 26, 27, 28, 29]
    assert timeline(60, 25.0, np.arange(60) / 25, last=0.04) == Timeline(60, 25.0)
    still = timeline(1, 25.0, np.array([0.0]), last=5.0)
    assert (list(still.cut(2.0, 3.0)), still.end) == ([0], 5.0)
