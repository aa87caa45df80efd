"""Hypotheses and references in, scores with the signature that says how they were computed out.

The word cutting of each data set is a preset, because the same output scores 34, 56 or 60 BLEU-4 depending on it."""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slt_cache.corpora.characters import NORMALIZATION
from slt_cache.errors import InputError
from slt_cache.metrics.bootstrap import check_resamples, mean_interval, metric_interval, seed
from slt_cache.metrics.normalization import BLANK_AND_DOT, RAW, TextChoices
from slt_cache.metrics.rouge import COCO_BETA, rouge_l

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric


@dataclass(frozen=True)
class Preset:
    """How sentences are cut into the units that are counted."""

    name: str
    bleu_tokenize: str
    """sacrebleu's name of the tokenizer."""
    rouge_units: Callable[[str], list[str]]
    rouge_units_name: str
    dot: str = BLANK_AND_DOT
    """What `final_dot="add"` appends."""


def split_on_blanks(text: str) -> list[str]:
    """Words as they stand between blanks; keeps umlauts and punctuation."""
    return text.split()


def split_words(text: str) -> list[str]:
    """Lowercased runs of letters and digits of any script with their vowel signs and accents; drops punctuation, but
    where a sentence has nothing else, its parts between blanks count: equal ones would score 0."""
    lowered = text.lower()
    words = "".join(one if _in_word(one) else " " for one in lowered).split()
    return words or lowered.split()


def _in_word(character: str) -> bool:
    """Python's `\\w` leaves out marks (categories M*), which are half of a Hindi or Thai word."""
    return character.isalnum() or character == "_" or unicodedata.category(character).startswith("M")


def split_characters(text: str) -> list[str]:
    """Every character but blanks."""
    return [character for character in text if not character.isspace()]


PRESETS = {
    "plain": Preset("plain", "13a", split_words, "words"),
    "phoenix14t": Preset("phoenix14t", "none", split_on_blanks, "blanks"),
    "csl-daily": Preset("csl-daily", "char", split_characters, "characters", dot="。"),
    "how2sign": Preset("how2sign", "13a", split_words, "words"),
}


NORMALIZED = f"|norm:{NORMALIZATION}"
"""Part of every signature."""


@dataclass(frozen=True)
class Score:
    """One figure, 0..100, and how it was computed."""

    name: str
    value: float
    signature: str
    interval: tuple[float, float] | None = None
    """95 %, where a bootstrap was asked for."""


def score(
    hypotheses: Sequence[str],
    references: Sequence[str],
    preset: str = "plain",
    choices: TextChoices = RAW,
    bootstrap: int | None = None,
    step: Callable[[], None] = lambda: None,
) -> dict[str, Score]:
    """BLEU-1..4 and chrF by sacrebleu, ROUGE-L by rouge-score, over the whole set.

    Keys: bleu1, bleu2, bleu3, bleu4, chrf, rouge_l (F1), rouge_l_beta12 (F with beta 1.2, sentence mean).
    `bootstrap`: resamples of the sentences that each figure's 95 % interval comes from; None for no interval. `step` is
    called after each of the FIGURES, as resampling takes its time.
    Raises InputError where the two differ in number or are empty, and for a `bootstrap` out of bounds."""
    if bootstrap is not None:
        check_resamples(bootstrap)
    cut = PRESETS[preset]
    hypotheses, references = scored_text(hypotheses, references, cut, choices)
    chosen = choices.signature(cut.dot)
    drawn = "" if bootstrap is None else f"|bs:{bootstrap}|seed:{seed()}"
    scores: dict[str, Score] = {}
    for key, (name, metric) in corpus_metrics(cut, choices).items():
        order = f"|order:{key[-1]}" if key.startswith("bleu") else ""
        value, interval = float(metric.corpus_score(hypotheses, [references]).score), None
        signature = str(metric.get_signature())
        if bootstrap is not None:
            middle, half, signature = metric_interval(metric, hypotheses, references, bootstrap)
            interval = _around(value, middle, half)
        scores[key] = Score(name, value, f"{signature}{NORMALIZED}{order}{chosen}", interval)
        step()
    for key, values in rouge_l(hypotheses, references, cut.rouge_units).items():
        name, beta = ROUGE_NAMES[key]
        signature = f"rouge-score{NORMALIZED}|units:{cut.rouge_units_name}|mean:sentences{drawn}|beta:{beta}{chosen}"
        value = float(values.mean())
        interval = None if bootstrap is None else _around(value, *mean_interval(values, bootstrap))
        scores[key] = Score(name, value, signature, interval)
        step()
    return scores


ROUGE_NAMES = {"rouge_l": ("ROUGE-L", "1"), "rouge_l_beta12": ("ROUGE-L (beta 1.2)", str(COCO_BETA))}
"""Name and beta of each."""


KEYS = ("bleu1", "bleu2", "bleu3", "bleu4", "chrf", *ROUGE_NAMES)
FIGURES = len(KEYS)


def scored_text(
    hypotheses: Sequence[str], references: Sequence[str], cut: Preset, choices: TextChoices
) -> tuple[list[str], list[str]]:
    """Both as they are scored: changed alike, as `choices` say. InputError where they do not pair up."""
    if len(hypotheses) != len(references):
        raise InputError(f"{len(hypotheses)} hypotheses but {len(references)} references; they must pair up.")
    if not references:
        raise InputError("no sentences to score.")
    return (
        [choices.applied(text, cut.dot) for text in hypotheses],
        [choices.applied(text, cut.dot) for text in references],
    )


def corpus_metrics(cut: Preset, choices: TextChoices) -> "dict[str, tuple[str, Metric]]":
    """sacrebleu's figures by key, each with the name that it is printed under."""
    from sacrebleu.metrics import BLEU, CHRF

    # The text is lowercased already; sacrebleu is told so that its own signature says case:lc.
    lowercase = choices.lowercase
    metrics: dict[str, tuple[str, Metric]] = {}
    for order in range(1, 5):
        # Stand-alone BLEU-n: geometric mean of the precisions up to n, not the n-gram precision.
        bleu = BLEU(lowercase=lowercase, tokenize=cut.bleu_tokenize, max_ngram_order=order, force=True)
        metrics[f"bleu{order}"] = (f"BLEU-{order}", bleu)
    metrics["chrf"] = ("chrF", CHRF(lowercase=lowercase))
    return metrics


def _around(value: float, middle: float, half: float) -> tuple[float, float]:
    """Interval of `value`: sacrebleu's, mean of the resamples +- half a width, kept within 0..100. It holds the value,
    which may lie outside if a few resamples of a handful of sentences score 0."""
    return min(max(middle - half, 0.0), value), max(min(middle + half, 100.0), value)
