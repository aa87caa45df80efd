"""Compares hypotheses with references: sentence scores, and the words in which they differ."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from slt_cache.metrics.presets import PRESETS
from slt_cache.runs.evaluations import Evaluation, Sentence
from slt_cache.text.scripts import is_wide

MOST_PAIRS = 4_000_000
"""Most pairs of reference and hypothesis words for an exact comparison, whose time is proportional to them; in longer
sentences words that make up more than a hundredth of the hypothesis begin no match."""


@dataclass(frozen=True)
class Segment:
    """A segment of a compared sentence: `same`, `extra` (not in the reference) or `missing` (only in it)."""

    text: str
    kind: str
    separator: str
    """Separator between the segment and the next one."""


def compare(reference: str, hypothesis: str) -> list[Segment]:
    """Compares hypothesis and reference word by word, or by characters if the reference is Chinese."""
    expected, found = tokenize(reference, reference), tokenize(hypothesis, reference)
    joiner = " " if has_words(reference) else ""
    segments: list[Segment] = []
    rough = len(expected) * len(found) > MOST_PAIRS
    for kind, a, b, c, d in difflib.SequenceMatcher(None, expected, found, autojunk=rough).get_opcodes():
        if kind == "equal":
            segments.append(Segment(joiner.join(found[c:d]), "same", joiner))
            continue
        if a < b:
            segments.append(Segment(joiner.join(expected[a:b]), "missing", joiner))
        if c < d:
            segments.append(Segment(joiner.join(found[c:d]), "extra", joiner))
    return segments


def tokenize(text: str, reference: str) -> list[str]:
    """Returns words, or characters if the reference has no words separated by whitespace."""
    return text.split() if has_words(reference) else [one for one in text if not one.isspace()]


def has_words(text: str) -> bool:
    """Returns whether whitespace separates words; a single word of Latin letters counts, too."""
    blanks = any(character.isspace() for character in text.strip())
    return blanks or not any(map(is_wide, text))


def sentence_scores(evaluation: Evaluation, sentences: Sequence[Sentence]) -> list[float]:
    """Returns sentence BLEU, 0..100, of the scored text; n-grams longer than the sentence are left out of the mean
    (effective order)."""
    from sacrebleu.metrics.bleu import BLEU

    preset, choices = PRESETS[evaluation.preset], evaluation.choices
    bleu = BLEU(tokenize=preset.bleu_tokenize, effective_order=True)
    return [
        bleu.sentence_score(
            choices.applied(one.hypothesis, preset.dot), [choices.applied(one.reference, preset.dot)]
        ).score
        for one in sentences
    ]
