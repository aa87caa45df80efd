"""Which clips a share of train has: seeded, nested, and whatever their order."""

from itertools import pairwise
from pathlib import Path

import pytest

from slt_cache.config import load_config
from slt_cache.corpora.base import Clip, of_split
from slt_cache.corpora.fraction import chosen_ids, count_of, used_clips

IDS = [f"clip-{number}" for number in range(40)]


@pytest.mark.parametrize("seed", [0, 7])
def test_smaller_shares_are_parts_of_larger_ones(seed: int) -> None:
    shares = [chosen_ids(IDS, fraction, seed) for fraction in (0.125, 0.25, 0.5, 1.0)]
    assert [len(share) for share in shares] == [5, 10, 20, 40]
    assert all(small < large for small, large in pairwise(shares))


def test_a_share_follows_from_the_seed_and_not_from_the_order_of_the_clips() -> None:
    assert chosen_ids(IDS[::-1], 0.25, 3) == chosen_ids(IDS, 0.25, 3) != chosen_ids(IDS, 0.25, 4)


def test_the_smallest_share_is_one_clip_and_nothing_has_none() -> None:
    assert [count_of(clips, 0.01) for clips in (0, 1, 3)] == [0, 1, 1]


def test_dev_and_test_stay_whole_and_clips_keep_their_order() -> None:
    splits = ["train"] * 20 + ["dev"] * 5 + ["test"] * 5
    clips = [Clip(IDS[place], split, Path("a.mp4"), None, None, "ein satz") for place, split in enumerate(splits)]
    used = used_clips(clips, load_config("avatar", ["seed=2"]), 0.5)
    assert used == [clip for clip in clips if clip in used]
    assert [len(of_split(used, split)) for split in ("train", "dev", "test")] == [10, 5, 5]
    assert {clip.id for clip in of_split(used, "train")} == chosen_ids(IDS[:20], 0.5, 2)


@pytest.mark.parametrize("fraction", ["0", "1.5", "-0.1", "half"])
def test_no_other_number_is_a_share(fraction: str) -> None:
    with pytest.raises(Exception, match=r"corpus\.fraction"):
        load_config("avatar", [f"corpus.fraction={fraction}"])
