"""Share of the train clips that trainings use, for learning curves (corpus.fraction): seeded, nested, and the same from
videos and from a cache."""

import hashlib
from collections.abc import Collection, Sequence
from typing import Any

from slt_cache.config import Config
from slt_cache.corpora.base import Clip, of_split

FRACTION = "corpus.fraction"
"""Key in a record's settings; absent if all clips were used."""


def count_of(clips: int, fraction: float) -> int:
    """Returns how many of the clips are used, at least one if there are any."""
    return min(clips, max(1, round(fraction * clips)))


def chosen_ids(ids: Collection[str], fraction: float, seed: int) -> set[str]:
    """Returns the ids of the clips that are used, whatever the order of `ids`: the first ones in an order that follows
    from the seed, so that smaller shares are parts of larger ones."""

    def place(clip_id: str) -> bytes:
        return hashlib.sha256(f"{seed}\t{clip_id}".encode(errors="surrogateescape")).digest()

    return set(sorted(ids, key=place)[: count_of(len(ids), fraction)])


def used_clips(clips: Sequence[Clip], config: Config, fraction: float) -> list[Clip]:
    """Returns the clips of all splits, of train only the share that is used."""
    chosen = chosen_ids([clip.id for clip in of_split(clips, "train")], fraction, config.seed)
    return [clip for clip in clips if clip.split != "train" or clip.id in chosen]


def fraction_record(fraction: float) -> dict[str, Any]:
    """Returns the share for a record; empty for all clips, as in older records."""
    return {} if fraction == 1 else {FRACTION: fraction}
