"""Splits for corpora that publish none: by video, so that no video and no known signer is in two splits."""

import hashlib
from collections.abc import Iterable, Mapping

from slt_cache.corpora.base import SPLITS


def splits_of(videos: Mapping[str, Iterable[str]], dev_share: float, test_share: float) -> dict[str, str]:
    """Returns the split of each video; the values of `videos` are their signers, none if unknown. Videos that share a
    signer stay together.

    A hash of the name decides, so that a video keeps its split when others are added. From three groups on, no split
    with a share is left empty: it takes the group whose hash is nearest."""
    groups: dict[str, list[str]] = {}
    for video, leader in _leaders(videos).items():
        groups.setdefault(leader, []).append(video)
    places = sorted((_fraction(group), group) for group in groups)
    bounds = {"test": (0.0, test_share), "dev": (test_share, test_share + dev_share)}
    split_of = {
        group: next((split for split, (low, high) in bounds.items() if low <= place < high), "train")
        for place, group in places
    }
    _fill([group for _, group in places], split_of, [split for split, (low, high) in bounds.items() if high > low])
    return {video: split_of[group] for group, members in groups.items() for video in members}


def _leaders(videos: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Returns the name of each video's group: one of its signers, or of those with whom they share a video; the video
    itself if no signer is known."""
    above: dict[str, str] = {}
    members = {
        video: [f"signer {signer}" for signer in sorted(set(signers))] or [f"video {video}"]
        for video, signers in sorted(videos.items())
    }
    for first, *others in members.values():
        for other in others:
            above[_top(above, other)] = _top(above, first)
    return {video: _top(above, first) for video, (first, *_) in members.items()}


def _top(above: dict[str, str], name: str) -> str:
    while (upper := above.setdefault(name, name)) != name:
        above[name] = above[upper]
        name = upper
    return name


def _fill(ordered: list[str], split_of: dict[str, str], wanted: Iterable[str]) -> None:
    """Gives each empty split one group of a split that has several; test takes from the beginning of the order, dev
    from there on, train from the end."""
    if len(ordered) < len(SPLITS):
        return
    for split in (*wanted, "train"):
        taken = list(split_of.values())
        if split not in taken:
            order = reversed(ordered) if split == "train" else ordered
            split_of[next(group for group in order if taken.count(split_of[group]) > 1)] = split


def _fraction(group: str) -> float:
    """Returns a number in [0, 1) that depends on the name alone."""
    return int.from_bytes(hashlib.sha256(group.encode("utf-8", errors="replace")).digest()[:6], "big") / 2**48
