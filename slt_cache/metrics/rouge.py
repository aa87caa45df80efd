"""ROUGE-L (Lin 2004), the F-score of the longest common subsequence of each sentence, by rouge-score; the metric is the
mean over the sentences. Two of them are computed: F1, and F with beta 1.2."""

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
"""Weight of recall in the ROUGE-L of the MS-COCO captioning scorer, which most tables of the field come from."""

LARGEST_TABLE = 1_000_000
"""Cells of the table that rouge-score fills for a pair of sentences: 8 MB, a fraction of a second."""


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
    """Returns precision, recall and F1 of one sentence. Two empty sentences are equal: 1; a single one shares
    nothing: 0.

    rouge-score gives the first 0, and needs memory in proportion to the product of both lengths, which a line of
    100,000 words does not leave."""
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
    """The tokenizer that rouge-score asks for, given sentences that are lists of units already."""

    def tokenize(self, units: list[str]) -> list[str]:
        return units


def longest_common(one: Sequence[str], other: Sequence[str]) -> int:
    """Returns the length of the longest common subsequence, bit-parallel: a row of the usual table is one integer,
    whose 0 bits are the columns at which the length grows (Hyyrö 2004)."""
    where: dict[str, int] = {}
    for place, unit in enumerate(one):
        where[unit] = where.get(unit, 0) | 1 << place
    whole = (1 << len(one)) - 1
    row = whole
    for unit in other:
        matches = row & where.get(unit, 0)
        row = (row + matches | row - matches) & whole
    return len(one) - row.bit_count()


def _f_beta(precision: float, recall: float, beta: float) -> float:
    if precision + recall == 0:
        return 0.0
    return (1 + beta**2) * precision * recall / (recall + beta**2 * precision)
