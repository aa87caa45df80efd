"""A reference and a hypothesis: how good the one is by itself, and where the two differ."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from slt_cache.metrics.presets import PRESETS
from slt_cache.runs.evaluations import Evaluation, Sentence
from slt_cache.text.scripts import is_wide

MOST_PAIRS = 4_000_000
"""Of a word of the reference with one of the hypothesis, up to which the comparison is exact. It takes time in
proportion to them; in longer sentences words that make up more than a hundredth of the hypothesis begin no match."""


@dataclass(frozen=True)
class Piece:
    """A part of a compared sentence: `same`, `extra` (not in the reference) or `missing` (only there)."""

    text: str
    kind: str
    blank: str
    """What stands between this part and the next."""


def compare(reference: str, hypothesis: str) -> list[Piece]:
    """The hypothesis word by word against the reference; by characters where the reference is Chinese."""
    expected, found = cut(reference, reference), cut(hypothesis, reference)
    joiner = " " if has_words(reference) else ""
    pieces: list[Piece] = []
    rough = len(expected) * len(found) > MOST_PAIRS
    for kind, a, b, c, d in difflib.SequenceMatcher(None, expected, found, autojunk=rough).get_opcodes():
        if kind == "equal":
            pieces.append(Piece(joiner.join(found[c:d]), "same", joiner))
            continue
        if a < b:
            pieces.append(Piece(joiner.join(expected[a:b]), "missing", joiner))
        if c < d:
            pieces.append(Piece(joiner.join(found[c:d]), "extra", joiner))
    return pieces


def cut(text: str, reference: str) -> list[str]:
    """Words, or characters where the reference has no words between blanks."""
    return text.split() if has_words(reference) else [one for one in text if not one.isspace()]


def has_words(text: str) -> bool:
    """Whether blanks part its words; a single word of Latin letters is one too."""
    blanks = any(character.isspace() for character in text.strip())
    return blanks or not any(map(is_wide, text))


def sentence_scores(evaluation: Evaluation, sentences: Sequence[Sentence]) -> list[float]:
    """Sentence BLEU of each, 0..100, of the text that was scored; n-grams longer than the sentence are left out of the
    mean (effective order)."""
    from sacrebleu.metrics.bleu import BLEU

    preset, choices = PRESETS[evaluation.preset], evaluation.choices
    bleu = BLEU(tokenize=preset.bleu_tokenize, effective_order=True)
    return [
        bleu.sentence_score(
            choices.applied(one.hypothesis, preset.dot), [choices.applied(one.reference, preset.dot)]
        ).score
        for one in sentences
    ]
