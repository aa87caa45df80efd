"""Time stamps that repeat, are missing or run backwards, set from their neighbours."""

import numpy as np
import pytest

from slt_cache.video.stamps import repair

TIMES = [0, 20, 40, 73, 93, 193, 293, 333, 353, 373]


@pytest.mark.parametrize("reordered", [False, True])
@pytest.mark.parametrize("bad", [None, 353])
@pytest.mark.parametrize("place", range(1, 9))
def test_one_bad_stamp_leaves_the_others_and_lies_between_its_neighbours(
    place: int, bad: int | None, reordered: bool
) -> None:
    stored: list[int | None] = list(TIMES)
    stored[place] = bad if bad is None else TIMES[place - 1]
    found = repair(stored, reordered)
    assert found.times is not None
    assert np.all(np.diff(found.times) > 0)
    assert len(found.times) == len(TIMES)
    if bad is None and not reordered:
        assert found.repaired == 1
        assert np.delete(found.times, place).tolist() == np.delete(TIMES, place).tolist()
    assert found.repaired == 1
    # A missing one of a reordered stream, and which of two equal ones is wrong, can only be guessed.
    assert np.abs(found.times - TIMES).max() <= 100


def test_the_stamp_with_more_room_is_the_wrong_one_of_two_equal_ones() -> None:
    assert repair([0, 40, 120, 120, 160], False).times.tolist() == [0, 40, 80, 120, 160]  # type: ignore[union-attr]
    assert repair([0, 40, 80, 80, 160], False).times.tolist() == [0, 40, 80, 120, 160]  # type: ignore[union-attr]


@pytest.mark.parametrize("stored", [[None, 40, 80], [0, 40, None], [0, None, 80], [0, 900, 80], [0, 40, 0, 120, 160]])
def test_stamps_at_the_ends_and_wild_ones_are_set_by_the_usual_step(stored: list[int | None]) -> None:
    found = repair(stored, False)
    assert found.times is not None
    assert found.times.tolist() == [40 * number for number in range(len(stored))]
    assert found.repaired == 1


def test_a_frame_is_told_by_its_stamp_only_where_no_other_has_the_same() -> None:
    assert repair([0, 40, 40, 120], False).own.tolist() == [True, False, False, True]
    assert repair([0, 40, None, 120], False).own.tolist() == [True, True, False, True]


def test_stamps_that_mostly_repeat_or_begin_again_tell_nothing() -> None:
    for stored in ([0] * 10, [None] * 9 + [0], [*range(0, 4000, 40), *range(20, 4000, 40)]):
        assert repair(stored, True).times is None
    assert repair([], False).times is None


def stored_with_b_frames(frames: int) -> list[int]:
    """Numbers of the frames in the order in which they are stored: each fourth one before the three that it follows."""
    return sorted(range(frames), key=lambda number: (number // 4, number % 4 != 3))


@pytest.mark.parametrize("place", range(0, 80, 3))
def test_a_wild_stamp_among_b_frames_is_that_frames_fault_alone(place: int) -> None:
    order = stored_with_b_frames(100)
    stored: list[int | None] = [40 * number for number in order]
    stored[place] = 10_000_000
    found = repair(stored, True)
    assert found.times is not None
    assert found.times.tolist() == [40 * number for number in range(100)]
    assert found.repaired == 1
    assert found.own.sum() == 99


@pytest.mark.parametrize("bad", [[0], [1], [50], [49, 50], [50, 51, 52, 53], [0, 1, 2, 3, 4], [96, 97, 98, 99]])
def test_missing_stamps_among_b_frames_go_where_a_frame_is_missing(bad: list[int]) -> None:
    stored: list[int | None] = [40 * number for number in stored_with_b_frames(100)]
    for place in bad:
        stored[place] = None
    found = repair(stored, True)
    assert found.times is not None
    assert found.times.tolist() == [40 * number for number in range(100)]
    assert found.repaired == len(bad)


@pytest.mark.parametrize("place", range(2, 40))
@pytest.mark.parametrize("of", ["the packet before", "the frame before", "the first frame"])
def test_a_stamp_among_b_frames_that_repeats_another_moves_no_frame(place: int, of: str) -> None:
    order = stored_with_b_frames(100)
    repeated = {"the packet before": order[place - 1], "the frame before": max(order[place] - 1, 0)}.get(of, 0)
    stored: list[int | None] = [40 * number for number in order]
    stored[place] = 40 * repeated
    found = repair(stored, True)
    assert found.times is not None
    assert found.times.tolist() == [40 * number for number in range(100)]
    assert not found.own[repeated]


def test_a_clock_that_begins_again_near_the_end_goes_on_as_before() -> None:
    stored: list[int | None] = [40 * number for number in stored_with_b_frames(100)]
    found = repair([*stored, *(time for time in stored[:20])], True)
    assert found.times is not None
    assert found.times.tolist() == [40 * number for number in range(120)]
    assert found.repaired == 20


def test_sound_stamps_stay_as_they_are() -> None:
    assert repair([0, 120, 40, 80, 160], True).times.tolist() == [0, 40, 80, 120, 160]  # type: ignore[union-attr]
    assert repair([0, 120, 40, 80, 160], True).repaired == 0
