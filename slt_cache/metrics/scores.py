"""Hypotheses and references in, scores with the signature that says how they were computed out.

The word cutting of each data set is a preset, because the same output scores 34, 56 or 60 BLEU-4 depending on it."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from slt_cache.errors import InputError

COCO_BETA = 1.2
"""Weight of recall in the ROUGE-L of the MS-COCO captioning scorer, which most tables of the field come from."""


@dataclass(frozen=True)
class Preset:
    """How sentences are cut into the units that are counted."""

    name: str
    bleu_tokenize: str
    """sacrebleu's name of the tokenizer."""
    rouge_units: Callable[[str], list[str]]
    rouge_units_name: str


def split_on_blanks(text: str) -> list[str]:
    """Words as they stand between blanks; keeps umlauts and punctuation."""
    return text.split()


def split_words(text: str) -> list[str]:
    """Lowercased runs of letters and digits of any script; punctuation is dropped."""
    return re.findall(r"\w+", text.lower())


def split_characters(text: str) -> list[str]:
    """Every character but blanks."""
    return [character for character in text if not character.isspace()]


PRESETS = {
    "plain": Preset("plain", "13a", split_words, "words"),
    "phoenix14t": Preset("phoenix14t", "none", split_on_blanks, "blanks"),
    "csl-daily": Preset("csl-daily", "char", split_characters, "characters"),
    "how2sign": Preset("how2sign", "13a", split_words, "words"),
}


@dataclass(frozen=True)
class Score:
    """One figure, 0..100, and how it was computed."""

    name: str
    value: float
    signature: str


def score(hypotheses: Sequence[str], references: Sequence[str], preset: str = "plain") -> dict[str, Score]:
    """BLEU-1..4 and chrF by sacrebleu, ROUGE-L by rouge-score, over the whole set.

    Keys: bleu1, bleu2, bleu3, bleu4, chrf, rouge_l (F1), rouge_l_beta12 (F with beta 1.2, sentence mean).
    Raises InputError where the two differ in number or are empty."""
    from sacrebleu.metrics import BLEU, CHRF

    if len(hypotheses) != len(references):
        raise InputError(f"{len(hypotheses)} hypotheses but {len(references)} references; they must pair up.")
    if not references:
        raise InputError("no sentences to score.")
    cut = PRESETS[preset]
    scores: dict[str, Score] = {}
    for order in range(1, 5):
        # Stand-alone BLEU-n: geometric mean of the precisions up to n, not the n-gram precision.
        bleu = BLEU(tokenize=cut.bleu_tokenize, max_ngram_order=order, force=True)
        value = bleu.corpus_score(list(hypotheses), [list(references)]).score
        scores[f"bleu{order}"] = Score(f"BLEU-{order}", value, f"{bleu.get_signature()}|order:{order}")
    chrf = CHRF()
    value = chrf.corpus_score(list(hypotheses), [list(references)]).score
    scores["chrf"] = Score("chrF", value, str(chrf.get_signature()))
    return scores | _rouge(hypotheses, references, cut)


def _rouge(hypotheses: Sequence[str], references: Sequence[str], cut: Preset) -> dict[str, Score]:
    from rouge_score.rouge_scorer import RougeScorer

    # Its own tokenizer keeps only [a-z0-9]: equal Chinese sentences would score 0 and umlauts split words.
    scorer = RougeScorer(["rougeL"], tokenizer=_RougeUnits(cut.rouge_units))
    pairs = [
        scorer.score(reference, hypothesis)["rougeL"]
        for hypothesis, reference in zip(hypotheses, references, strict=True)
    ]
    f1 = fmean(pair.fmeasure for pair in pairs)
    beta12 = fmean(_f_beta(pair.precision, pair.recall, COCO_BETA) for pair in pairs)
    signature = f"rouge-score|units:{cut.rouge_units_name}|mean:sentences"
    return {
        "rouge_l": Score("ROUGE-L", 100 * f1, f"{signature}|beta:1"),
        "rouge_l_beta12": Score("ROUGE-L (beta 1.2)", 100 * beta12, f"{signature}|beta:{COCO_BETA}"),
    }


class _RougeUnits:
    """The interface that rouge-score asks of a tokenizer."""

    def __init__(self, units: Callable[[str], list[str]]):
        self.tokenize = units


def _f_beta(precision: float, recall: float, beta: float) -> float:
    if precision + recall == 0:
        return 0.0
    return (1 + beta**2) * precision * recall / (recall + beta**2 * precision)
