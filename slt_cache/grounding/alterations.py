"""Alters the features of clips: masks, shuffles, swaps, blanks them. Whatever is random is drawn from the clip's id
alone, so that it depends neither on batches nor on processes, and is the same for every run."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from slt_cache.encoders.packing import ClipArrays
from slt_cache.features.streams import ClipSplit

ALTERATIONS = {
    "mask": "half of the time steps of each clip, drawn at random, are blank",
    "shuffle": "the time steps of each clip are in random order",
    "swap": "each clip has the features of another one, drawn at random among those with another sentence",
    "blank": "all time steps are blank: the mean features of training clips",
}
"""Alterations by name, in the order of every table."""
BLANK = "blank"
SWAP = "swap"
MASKED = 0.5
"""Share of the time steps that are masked, rounded up."""


class AlteredSplit:
    """A split with altered features, for search as any other. Each clip has view 0 alone."""

    views = 1

    def __init__(self, split: ClipSplit, alteration: str, blank: ClipArrays):
        """Alters a split; `blank` is the features [C] of a blank step, or of each stream."""
        self.split, self.alteration = split, alteration
        self.blank = blank if isinstance(blank, tuple) else (blank,)
        self.ids, self.texts, self.languages = split.ids, split.texts, split.languages
        self.sources = donors_of(split) if alteration == SWAP else list(range(len(split.ids)))
        """Place of the clip whose features each clip has."""
        self.steps: np.ndarray = np.asarray(split.steps)[self.sources]

    def __len__(self) -> int:
        return len(self.ids)

    def row(self, row: int) -> ClipArrays:
        """Returns the altered features of a clip, [N, C], or of each of its streams."""
        clip = self.split.row(self.sources[row] * self.split.views)
        if self.alteration == SWAP:
            return clip
        streams = clip if isinstance(clip, tuple) else (clip,)
        # Each stream draws from the start of the same sequence: streams of the same length are altered alike.
        altered = tuple(
            altered_steps(one, self.alteration, blank, self.ids[row])
            for one, blank in zip(streams, self.blank, strict=True)
        )
        return altered if isinstance(clip, tuple) else altered[0]


def altered_steps(features: np.ndarray, alteration: str, blank: np.ndarray, clip_id: str) -> np.ndarray:
    """Returns features [N, C] of one stream after `mask`, `shuffle` or `blank`."""
    steps, random = len(features), _random(alteration, clip_id)
    if alteration == "shuffle":
        return features[random.permutation(steps)]
    masked = np.arange(steps) if alteration == BLANK else random.permutation(steps)[: int(np.ceil(steps * MASKED))]
    altered = features.copy()
    altered[masked] = blank
    return altered


def can_swap(split: ClipSplit) -> bool:
    """Returns whether every clip has another one with another sentence."""
    return len(set(split.texts)) > 1


def donors_of(split: ClipSplit) -> list[int]:
    """Returns, for each clip, the place of the clip whose features it gets by `swap`: drawn from the clips sorted by
    id, whatever their order in the split. Requires `can_swap`."""
    order = sorted(range(len(split.ids)), key=split.ids.__getitem__)
    donors = []
    for clip_id, text in zip(split.ids, split.texts, strict=True):
        drawn = (order[place] for place in _random(SWAP, clip_id).permutation(len(order)).tolist())
        donors.append(next(place for place in drawn if split.texts[place] != text))
    return donors


def mean_step(split: ClipSplit) -> ClipArrays:
    """Returns the mean of all time steps of a split, [C], or of each stream, in the data type of its features: a step
    that says nothing about the clip, yet is of the scale that the model reads."""
    sums: list[np.ndarray] = []
    counts: list[int] = []
    kinds: list[np.dtype] = []
    several = False
    for clip in all_clips(split):
        several = isinstance(clip, tuple)
        streams = clip if isinstance(clip, tuple) else (clip,)
        if not sums:
            sums = [np.zeros(one.shape[1]) for one in streams]
            counts, kinds = [0] * len(streams), [one.dtype for one in streams]
        for place, one in enumerate(streams):
            sums[place] += one.sum(0, dtype=np.float64)
            counts[place] += len(one)
    means = tuple((total / count).astype(kind) for total, count, kind in zip(sums, counts, kinds, strict=True))
    return means if several else means[0]


def all_clips(split: ClipSplit) -> Iterator[ClipArrays]:
    """Yields view 0 of each clip."""
    return (split.row(place * split.views) for place in range(len(split.ids)))


def _random(alteration: str, clip_id: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{alteration}\n{clip_id}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


class KeptSplit:
    """A split in memory, of clips that were read from video."""

    views = 1

    def __init__(
        self,
        ids: Sequence[str],
        texts: Sequence[str],
        clips: Sequence[ClipArrays],
        languages: Mapping[str, str] = MappingProxyType({}),
    ):
        """Takes the clips, [N, C] each; `languages` are those of their sentences by id, if there are several."""
        self.ids, self.texts, self.clips, self.languages = list(ids), list(texts), list(clips), languages
        lengths = [sum(map(len, clip)) if isinstance(clip, tuple) else len(clip) for clip in clips]
        self.steps: np.ndarray = np.array(lengths)

    def __len__(self) -> int:
        return len(self.ids)

    def row(self, row: int) -> ClipArrays:
        return self.clips[row]
