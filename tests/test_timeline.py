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
