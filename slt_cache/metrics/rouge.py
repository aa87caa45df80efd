"""ROUGE-L (Lin 2004), the F-score of the longest common subsequence of each sentence, by rouge-score; the metric is the
mean over the sentences. There are two: ROUGE-L F1, and ROUGE-L F1.2 with beta 1.2."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from slt_cache.metrics.base import SentenceMetric
from slt_cache.metrics.presets import Preset

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer
    from rouge_score.scoring import Score

COCO_BETA = 1.2
"""Weight of recall in the MS-COCO captioning scorer, from which most ROUGE-L values of the field come."""

LARGEST_TABLE = 1_000_000
"""Most cells of the table that rouge-score may fill for a pair of sentences: 8 MB, a fraction of a second."""


def _f1(hypotheses: Sequence[str], references: Sequence[str], preset: Preset) -> np.ndarray:
    return 100 * np.array([pair.fmeasure for pair in _pairs(tuple(hypotheses), tuple(references), preset.rouge_units)])


def _f12(hypotheses: Sequence[str], references: Sequence[str], preset: Preset) -> np.ndarray:
    pairs = _pairs(tuple(hypotheses), tuple(references), preset.rouge_units)
    return 100 * np.array([_f_beta(pair.precision, pair.recall, COCO_BETA) for pair in pairs])


ROUGE_L = SentenceMetric(key="rouge_l", label="ROUGE-L F1", values=_f1, tool="rouge-score", suffix="|beta:1")
ROUGE_L_BETA12 = SentenceMetric(
    key="rouge_l_beta12", label="ROUGE-L F1.2", values=_f12, tool="rouge-score", suffix=f"|beta:{COCO_BETA}"
)


@lru_cache(maxsize=2)
def _pairs(
    hypotheses: tuple[str, ...], references: tuple[str, ...], units: Callable[[str], list[str]]
) -> list["Score"]:
    """Returns precision, recall and F1 of each sentence. Both metrics need them, of up to two sets of hypotheses."""
    from rouge_score.rouge_scorer import RougeScorer

    # Its own tokenizer keeps only [a-z0-9]: equal Chinese sentences would score 0 and umlauts split words.
    scorer = RougeScorer(["rougeL"], tokenizer=_Tokenized())
    return [
        _score(scorer, units(hypothesis), units(reference))
        for hypothesis, reference in zip(hypotheses, references, strict=True)
    ]


def _score(scorer: "RougeScorer", hypothesis: list[str], reference: list[str]) -> "Score":
    """Returns precision, recall and F1 of one sentence: 1 if both sentences are empty, 0 if only one is.

    rouge-score gives 0 to two empty ones, and needs memory proportional to the product of both lengths, too much for
    a line of 100,000 words."""
    from rouge_score.scoring import Score, fmeasure

    if not hypothesis and not reference:
        return Score(1.0, 1.0, 1.0)
    if len(hypothesis) * len(reference) <= LARGEST_TABLE:
        score: Score = scorer.score(reference, hypothesis)["rougeL"]
        return score
    common = longest_common(hypothesis, reference)
    precision, recall = common / len(hypothesis), common / len(reference)
    return Score(precision, recall, fmeasure(precision, recall))


class _Tokenized:
    """The tokenizer that rouge-score requires; sentences are already lists of units."""

    def tokenize(self, units: list[str]) -> list[str]:
        return units


def longest_common(one: Sequence[str], other: Sequence[str]) -> int:
    """Returns the length of the longest common subsequence, bit-parallel: a row of the usual table is one integer,
    whose 0 bits are the columns at which the length grows (Hyyrö 2004)."""
    positions: dict[str, int] = {}
    for index, unit in enumerate(one):
        positions[unit] = positions.get(unit, 0) | 1 << index
    whole = (1 << len(one)) - 1
    row = whole
    for unit in other:
        matches = row & positions.get(unit, 0)
        row = (row + matches | row - matches) & whole
    return len(one) - row.bit_count()


def _f_beta(precision: float, recall: float, beta: float) -> float:
    if precision + recall == 0:
        return 0.0
    return (1 + beta**2) * precision * recall / (recall + beta**2 * precision)
