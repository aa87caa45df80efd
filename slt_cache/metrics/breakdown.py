"""Breaks scores down: by the length of the reference, and by how often a word occurs in train (as compare-mt does,
Neubig et al. 2019). Words are those of the preset, as ROUGE-L counts them."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

FREQUENCIES = (0, 1, 3, 10, 30, 100, 300, 1000, 3000)
"""Fewest occurrences in train of the words of each class; the last one is open."""
LENGTH_BINS = 4

Words = Callable[[str], list[str]]
"""Function from a sentence to its words."""


@dataclass(frozen=True)
class Bin:
    """Sentences of similar length."""

    least: int
    most: int
    places: np.ndarray
    """int64, places of the sentences."""


def bins_of_length(lengths: Sequence[int]) -> list[Bin]:
    """Returns up to four bins, of about as many sentences each; equal lengths are in the same bin."""
    each = np.array(lengths)
    edges = np.unique(np.quantile(each, np.arange(1, LENGTH_BINS) / LENGTH_BINS, method="lower"))
    bins = np.searchsorted(edges, each)
    places = [np.flatnonzero(bins == one) for one in range(len(edges) + 1)]
    return [Bin(int(each[one].min()), int(each[one].max()), one) for one in places if len(one)]


@dataclass(frozen=True)
class WordsOfFrequency:
    """How well the words of one class of frequency are translated."""

    least: int
    """Fewest occurrences in train."""
    most: int | None
    """Most occurrences in train; None for any number."""
    words: int
    """Words in the references, each as often as it occurs."""
    f1: float
    """F1, 0..100: words of the hypotheses that are in their reference, at most as often as there."""


def count_words(sentences: Iterable[str], words: Words) -> Counter[str]:
    """Returns how often each word occurs."""
    return Counter(word for sentence in sentences for word in words(sentence))


def by_frequency(
    systems: Sequence[Sequence[str]], references: Sequence[str], words: Words, train: Counter[str]
) -> list[WordsOfFrequency]:
    """Returns the classes of frequency that the references have words of. `systems` are the hypotheses of one or
    several systems, which are counted together; `train` has the occurrences of each word."""
    expected = [Counter(words(one)) for one in references]
    wanted, given, common = (np.zeros(len(FREQUENCIES)) for _ in range(3))
    for hypotheses in systems:
        for hypothesis, reference in zip(hypotheses, expected, strict=True):
            found = Counter(words(hypothesis))
            for counts, total in ((reference, wanted), (found, given), (found & reference, common)):
                for word, times in counts.items():
                    total[_class_of(train[word])] += times
    ends = [*(one - 1 for one in FREQUENCIES[1:]), None]
    return [
        WordsOfFrequency(
            least,
            ends[place],
            round(wanted[place] / len(systems)),
            float(200 * common[place] / (wanted[place] + given[place])),
        )
        for place, least in enumerate(FREQUENCIES)
        if wanted[place]
    ]


def _class_of(occurrences: int) -> int:
    return int(np.searchsorted(FREQUENCIES, occurrences, side="right")) - 1
