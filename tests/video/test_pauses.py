"""The rule of the pauses: what counts as movement, and which stretches without it divide a video."""

from collections.abc import Sequence

import numpy as np
import pytest

from slt_cache.video.pauses import Movement, segments


def found(
    *stretches: tuple[float, float], rate: float = 25, noise: float = 0.0, pause: float = 0.4
) -> list[tuple[float, float]]:
    """The segments, in seconds, of stretches of seconds and movement."""
    moved = np.concatenate([np.full(round(seconds * rate), amount) for seconds, amount in stretches])
    everywhere = np.full(len(moved), noise)
    return [(first / rate, end / rate) for first, end in segments(Movement(moved, everywhere, 2.5, rate), pause)]


def test_segments_lie_between_pauses_from_the_first_movement_to_the_last() -> None:
    assert found((1, 0), (2, 50), (1, 0), (3, 40), (1, 0)) == [(0.92, 3), (3.92, 7)]
    assert found((2, 50), (0.2, 0), (2, 50), (1, 0)) == [(0, 4.2)]
    assert found((0.2, 0), (2, 50), (0.2, 0)) == [(0, 2.4)]


def test_the_rate_of_the_samples_does_not_matter() -> None:
    for rate in (5, 12.5, 25, 50):
        times = np.array(found((0.8, 0), (2, 50), (0.8, 0), (2, 50), rate=rate))
        assert times == pytest.approx(np.array([(0.76, 2.8), (3.56, 5.6)]), abs=0.05)


def test_what_is_small_compared_with_the_usual_movement_is_stillness() -> None:
    assert found((2, 50), (1, 7), (2, 50)) == [(0, 2), (2.92, 5)]
    assert found((2, 20), (1, 8), (2, 20)) == [(0, 5)]


def test_noise_is_no_movement() -> None:
    assert found((2, 50), (1, 6), (2, 50), noise=2.0) == [(0, 2), (2.92, 5)]
    assert found((2, 12), (1, 6), (2, 12), noise=2.0) == [(0, 2), (2.92, 5)]
    assert found((3, 6), noise=2.0) == []


def test_a_short_change_within_stillness_is_none() -> None:
    assert found((2, 50), (0.24, 0), (0.04, 200), (0.24, 0), (2, 50)) == [(0, 2), (2.44, 4.52)]
    assert found((2, 50), (1, 0), (0.16, 90), (1, 0), (2, 50)) == [(0, 2), (4.08, 6.16)]
    assert found((2, 50), (1, 0), (0.4, 90), (1, 0), (2, 50)) == [(0, 2), (2.92, 3.4), (4.32, 6.4)]


@pytest.mark.parametrize(("cuts", "times"), [((50,), (0, 2)), ((), (0, 2.04))])
def test_a_picture_to_which_the_video_cuts_belongs_to_what_follows(
    cuts: Sequence[int], times: tuple[float, float]
) -> None:
    moved = np.concatenate([np.full(51, 50.0), np.zeros(49)])
    everywhere = np.zeros(100)
    everywhere[list(cuts)] = 90
    [(first, end)] = segments(Movement(moved, everywhere, 2.5, 25))
    assert (first / 25, end / 25) == times


def test_a_segment_begins_where_the_picture_changes_at_once() -> None:
    assert found((2, 50), (1, 0), (0.04, 90), (0.08, 0), (2, 50)) == [(0, 2), (3, 5.12)]
    assert found((2, 50), (1, 0), (2, 50)) == [(0, 2), (2.92, 5)]


def test_a_video_shorter_than_a_pause_or_a_segment_is_one_segment() -> None:
    assert found((0.2, 50)) == [(0, 0.2)]
    assert found((0.04, 0)) == [(0, 0.04)]
    assert found((0.2, 0), (0.1, 50)) == [(0, 0.28)]


def test_the_shortest_pause_can_be_chosen() -> None:
    stretches = ((2, 50), (0.6, 0), (2, 50))
    assert len(found(*stretches)) == 2
    assert len(found(*stretches, pause=0.7)) == 1
