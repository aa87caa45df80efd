"""Splits by video: deterministic, never empty without need, and none shares a video or a signer."""

from collections import Counter

from slt_cache.corpora.own_splits import splits_of


def test_shares_are_kept_and_other_videos_change_no_split() -> None:
    many = {f"video{number}": () for number in range(4000)}
    split_of = splits_of(many, 0.05, 0.1)
    counts = Counter(split_of.values())
    assert 150 < counts["dev"] < 250
    assert 330 < counts["test"] < 470
    fewer = splits_of(dict(list(many.items())[:2000]), 0.05, 0.1)
    assert all(split_of[video] == split for video, split in fewer.items())


def test_three_videos_are_enough_for_three_splits_and_fewer_are_all_train() -> None:
    assert set(splits_of({"a": (), "b": (), "c": ()}, 0.05, 0.05).values()) == {"train", "dev", "test"}
    assert splits_of({"a": (), "b": ()}, 0.0, 0.0) == {"a": "train", "b": "train"}
    assert set(splits_of({"a": (), "b": (), "c": ()}, 0.05, 0.0).values()) == {"train", "dev"}
    assert splits_of({}, 0.05, 0.05) == {}


def test_videos_that_share_signers_over_other_videos_stay_together() -> None:
    videos = {"a": ("1",), "b": ("1", "2"), "c": ("2", "3"), "d": ("3",), "e": ("4",), "f": ()}
    split_of = splits_of(videos, 0.3, 0.3)
    assert len({split_of[name] for name in "abcd"}) == 1
    assert set(split_of.values()) == {"train", "dev", "test"}
