"""Masked, shuffled, swapped and blank features: what stays, what changes, and what the draw depends on."""

from typing import Any

import numpy as np
import pytest

from slt_cache.grounding.alterations import ALTERATIONS, AlteredSplit, KeptSplit, can_swap, mean_step

LENGTHS = (6, 1, 9, 4, 5)


def split(order: tuple[int, ...] = (0, 1, 2, 3, 4), streams: bool = False) -> KeptSplit:
    clips = []
    for place in order:
        random = np.random.default_rng(place)
        one = random.normal(size=(LENGTHS[place], 3)).astype(np.float16)
        other = random.normal(size=(LENGTHS[place], 2)).astype(np.float32)
        clips.append((one, other) if streams else one)
    texts = [f"satz {place // 2}" for place in order]
    return KeptSplit([f"clip/{place}" for place in order], texts, clips)


def altered(alteration: str, clips: KeptSplit) -> dict[str, Any]:
    found = AlteredSplit(clips, alteration, mean_step(clips))
    return {clip_id: found.row(place) for place, clip_id in enumerate(found.ids)}


@pytest.mark.parametrize("alteration", ALTERATIONS)
def test_it_depends_on_the_id_of_the_clip_alone(alteration: str) -> None:
    """And not on the order of the clips, hence not on batches or processes."""
    blank = mean_step(split())
    one, other = (AlteredSplit(split(order), alteration, blank) for order in [(0, 1, 2, 3, 4), (3, 1, 4, 0, 2)])
    for place, clip_id in enumerate(other.ids):
        np.testing.assert_array_equal(other.row(place), one.row(one.ids.index(clip_id)))
    np.testing.assert_array_equal(one.row(0), one.row(0))


def test_half_of_the_steps_are_masked() -> None:
    clips = split()
    for place, (clip_id, found) in enumerate(altered("mask", clips).items()):
        same = (found == clips.row(place)).all(1)
        assert int((~same).sum()) == -(-LENGTHS[place] // 2), clip_id
        np.testing.assert_array_equal(found[~same], np.broadcast_to(mean_step(clips), found[~same].shape))
        assert found.dtype == np.float16


def test_shuffled_steps_are_the_same_in_another_order() -> None:
    clips = split()
    found = altered("shuffle", clips)
    for place, one in enumerate(found.values()):
        assert sorted(map(tuple, one)) == sorted(map(tuple, clips.row(place)))
    assert not np.array_equal(found["clip/2"], clips.row(2))


def test_a_swapped_clip_has_the_features_of_one_with_another_sentence() -> None:
    clips = split()
    found = AlteredSplit(clips, "swap", mean_step(clips))
    for place, source in enumerate(found.sources):
        assert clips.texts[source] != clips.texts[place]
        np.testing.assert_array_equal(found.row(place), clips.row(source))
    assert found.steps.tolist() == [LENGTHS[source] for source in found.sources]
    assert len(set(found.sources)) > 1


def test_there_is_nothing_to_swap_with_if_all_sentences_are_the_same() -> None:
    assert can_swap(split())
    assert not can_swap(split((0, 1)))


def test_a_blank_clip_says_nothing_but_its_length() -> None:
    clips = split()
    for place, found in enumerate(altered("blank", clips).values()):
        assert found.shape == (LENGTHS[place], 3)
        assert (found == mean_step(clips)).all()
    mean = np.concatenate(clips.clips).astype(np.float64).mean(0).astype(np.float16)
    np.testing.assert_array_equal(mean_step(clips), mean)


def test_streams_of_the_same_length_are_altered_alike() -> None:
    clips = split(streams=True)
    means = mean_step(clips)
    assert [mean.dtype for mean in means] == [np.float16, np.float32]
    for alteration in ("mask", "shuffle"):
        found = AlteredSplit(clips, alteration, means)
        for place in range(len(clips)):
            one, other = found.row(place)
            before, other_before = clips.row(place)
            if alteration == "mask":
                np.testing.assert_array_equal((one == before).all(1), (other == other_before).all(1))
            else:
                order = [before.tolist().index(row) for row in one.tolist()]
                np.testing.assert_array_equal(other, other_before[order])
