"""Two texts, cut into units -> ROUGE-L of each sentence."""

from collections.abc import Callable, Sequence

import numpy as np

COCO_BETA = 1.2
"""Weight of recall in the ROUGE-L of the MS-COCO captioning scorer, which most tables of the field come from."""

Units = Callable[[str], list[str]]


def rouge_l(hypotheses: Sequence[str], references: Sequence[str], units: Units) -> dict[str, np.ndarray]:
    """`rouge_l` (F1) and `rouge_l_beta12` (F with beta 1.2), float64 [sentences], 0..100; scores are the means."""
    from rouge_score.rouge_scorer import RougeScorer

    # Its own tokenizer keeps only [a-z0-9]: equal Chinese sentences would score 0 and umlauts split words.
    scorer = RougeScorer(["rougeL"], tokenizer=_RougeUnits(units))
    pairs = [
        scorer.score(reference, hypothesis)["rougeL"]
        for hypothesis, reference in zip(hypotheses, references, strict=True)
    ]
    return {
        "rouge_l": 100 * np.array([pair.fmeasure for pair in pairs]),
        "rouge_l_beta12": 100 * np.array([_f_beta(pair.precision, pair.recall, COCO_BETA) for pair in pairs]),
    }


class _RougeUnits:
    """The interface that rouge-score asks of a tokenizer."""

    def __init__(self, units: Units):
        self.tokenize = units


def _f_beta(precision: float, recall: float, beta: float) -> float:
    if precision + recall == 0:
        return 0.0
    return (1 + beta**2) * precision * recall / (recall + beta**2 * precision)
