"""Size of a corpus by split: clips, hours, signers, words, vocabulary, and the words of dev and test that train lacks.

A word is what whitespace separates, without the punctuation around it, in lower case. In languages without whitespace
every letter and digit counts instead, and so does every Chinese or Japanese character in other languages."""

import string
from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from slt_cache.corpora.base import SPLITS, Clip, Problems
from slt_cache.corpora.characters import normalized
from slt_cache.corpora.same_sentences import NEARLY_SAME, SAME, WIDE
from slt_cache.corpora.same_videos import OVERLAP, SAME_VIDEO

LEAKS = (OVERLAP, SAME_VIDEO, SAME, NEARLY_SAME)
"""Problems of clips that several splits share."""
WORDS, CHARACTERS = "words", "characters"
PUNCTUATION = string.punctuation + "“”„‚‘’«»‹›…–—¿¡·•♪♫。，、；：？！（）《》〈〉「」『』【】〔〕～｡､।॥؟؛،۔"
"""What is no part of a word at its ends."""
LOOKED_AT = 1000
"""Number of evenly spaced sentences that represent all."""


@dataclass(frozen=True)
class SplitStatistics:
    """Size of one split."""

    clips: int
    hours: float | None
    """Hours of the clips whose length is known; None if none is known."""
    timed_clips: int
    """Number of these clips."""
    signers: int
    """Number of named signers."""
    words: int
    vocabulary: int
    """Number of different words."""
    out_of_vocabulary_words: int
    """Words of the split that train lacks, each as often as it occurs."""
    out_of_vocabulary: int
    """Number of different words that train lacks."""


@dataclass(frozen=True)
class Statistics:
    """Sizes of the splits that have clips, and the numbers that the page of the preparation draws."""

    unit: str
    """What counts as a word: words or characters."""
    splits: Mapping[str, SplitStatistics]
    leaks: Mapping[str, int]
    """Number of the problems of LEAKS, by kind."""
    seconds: Mapping[str, "array[float]"]
    """Seconds of each clip whose length is known, by split."""
    lengths: Mapping[str, "array[int]"]
    """Words of each sentence, by split."""
    counts: Mapping[str, Counter[str]]
    """Word -> how often it occurs, by split."""

    @property
    def table(self) -> list[list[str]]:
        """Returns the rows of a table with a column for each split, its header first."""
        splits = list(self.splits.values())
        rows = [
            ["", *self.splits],
            ["clips", *(f"{one.clips:,}" for one in splits)],
            ["hours", *map(_hours, splits)],
            ["signers", *(f"{one.signers:,}" if one.signers else "–" for one in splits)],
            [self.unit, *(f"{one.words:,}" for one in splits)],
            ["vocabulary", *(f"{one.vocabulary:,}" for one in splits)],
        ]
        return [*rows, ["out of vocabulary", *map(_unknown, self.splits, splits)]] if "train" in self.splits else rows

    def to_json(self) -> dict[str, Any]:
        return {
            "unit": self.unit,
            "splits": {split: asdict(one) for split, one in self.splits.items()},
            "leaks": dict(self.leaks),
        }


def statistics_of(
    clips: Sequence[Clip], seconds_of: Callable[[Clip], float | None], by_characters: bool | None, problems: Problems
) -> Statistics:
    """Counts the clips. `seconds_of` returns the length of a clip, None if unknown. `by_characters` is for languages
    without whitespace; None looks whether most letters are Chinese or Japanese."""
    if by_characters is None:
        some = "".join(clip.text for clip in clips[:: max(1, len(clips) // LOOKED_AT)])
        by_characters = 2 * len(WIDE.findall(some)) > sum(map(str.isalnum, some))
    sizes: Counter[str] = Counter()
    signers: dict[str, set[str]] = {split: set() for split in SPLITS}
    seconds: dict[str, array[float]] = {split: array("f") for split in SPLITS}
    lengths: dict[str, array[int]] = {split: array("i") for split in SPLITS}
    counts: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
    for clip in clips:
        split, words = clip.split, words_of(clip.text, by_characters)
        sizes[split] += 1
        signers[split].update(filter(None, [clip.signer]))
        lengths[split].append(len(words))
        counts[split].update(words)
        length = seconds_of(clip)
        if length is not None:
            seconds[split].append(length)
    known = counts["train"]
    splits = {
        split: SplitStatistics(
            clips=sizes[split],
            hours=sum(seconds[split]) / 3600 if seconds[split] else None,
            timed_clips=len(seconds[split]),
            signers=len(signers[split]),
            words=sum(lengths[split]),
            vocabulary=len(counts[split]),
            out_of_vocabulary_words=sum(many for word, many in counts[split].items() if word not in known),
            out_of_vocabulary=sum(word not in known for word in counts[split]),
        )
        for split in SPLITS
        if sizes[split]
    }
    leaks = {kind: len(problems.get(kind, [])) for kind in LEAKS}
    return Statistics(CHARACTERS if by_characters else WORDS, splits, leaks, seconds, lengths, counts)


def words_of(text: str, by_characters: bool) -> list[str]:
    """Returns the words, or the letters and digits, of a sentence in lower case."""
    folded = normalized(text).casefold()
    if by_characters:
        return [one for one in folded if one.isalnum()]
    spaced = folded if folded.isascii() else WIDE.sub(r" \1 ", folded)
    return [word for part in spaced.split() if (word := part.strip(PUNCTUATION))]


def _hours(split: SplitStatistics) -> str:
    if split.hours is None:
        return "–"
    of_some = "" if split.timed_clips == split.clips else f" ({split.timed_clips:,} of {split.clips:,} clips)"
    return f"{split.hours:.2f}{of_some}" if split.hours >= 1 else f"{split.hours:.3g}{of_some}"


def _unknown(name: str, split: SplitStatistics) -> str:
    """Returns how much of the vocabulary, and in brackets of all words, train lacks."""
    if name == "train":
        return "–"
    return f"{split.out_of_vocabulary:,} ({split.out_of_vocabulary_words / max(split.words, 1):.1%})"
