"""Word error rates of content words, of numbers and of names apart: the edits that turn those of a hypothesis into
those of its reference, per 100 of the reference. Weather figures and places matter more than function words."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np

from slt_cache.metrics.base import RatioMetric, Rules
from slt_cache.metrics.content_words import FUNCTION_WORDS, RULE, is_content_word
from slt_cache.metrics.normalization import TextChoices
from slt_cache.metrics.numbers_and_names import (
    CHINESE_NUMERALS,
    NAME_RULE,
    NO_NUMERALS,
    NUMBER_RULE,
    PLACES,
    is_name,
    is_number,
)
from slt_cache.metrics.presets import preset_named
from slt_cache.text.scripts import is_wide

Languages = tuple[str, ...]
Kind = Callable[[str, Languages, bool], bool]
"""Whether a word, which may begin a sentence, in one of the languages is counted."""

_SENTENCE_ENDS = ".!?。！？"
_KNOWN = sorted({*FUNCTION_WORDS["zh"], *NO_NUMERALS, *PLACES["zh"]}, key=len, reverse=True)
_CHINESE = re.compile(f"{'|'.join(_KNOWN)}|[{CHINESE_NUMERALS}]+|.")
"""Words of a Chinese text: those that are known, runs of numerals, and single characters."""


def words_of(text: str, joined: bool) -> Iterator[tuple[str, bool]]:
    """Yields the words of a text without the punctuation around them, and whether each begins a sentence. Chinese is
    split into known words and single characters; in a `joined` text, whitespace does not separate them."""
    begins = True
    for part in ["".join(text.split())] if joined else text.split():
        for wide, group in groupby(part, is_wide):
            run = "".join(group)
            for word in _CHINESE.findall(run) if wide else [run]:
                bare = re.sub(r"^(?![+-]\d)\W+|\W+$", "", word)
                if bare:
                    yield bare, begins
                begins = word[-1] in _SENTENCE_ENDS or (begins and not bare)


def _counts(hypotheses: Sequence[str], references: Sequence[str], rules: Rules, kind: Kind) -> np.ndarray:
    languages, joined = rules.languages, rules.preset.bleu_tokenize == "char"

    def kept(text: str) -> list[str]:
        return [word.lower() for word, begins in words_of(text, joined) if kind(word, languages, begins)]

    pairs = zip(map(kept, hypotheses), map(kept, references), strict=True)
    return np.array([(edits(ours, wanted), len(wanted)) for ours, wanted in pairs], dtype=np.int64)


def edits(words: Sequence[str], others: Sequence[str]) -> int:
    """Returns the smallest number of insertions, deletions and substitutions between two lists (Levenshtein 1966)."""
    row = list(range(len(others) + 1))
    for place, word in enumerate(words, 1):
        above = row
        row = [place]
        for column, other in enumerate(others):
            row.append(min(above[column] + (word != other), above[column + 1] + 1, row[column] + 1))
    return row[-1]


def _is_content(word: str, languages: Languages, begins: bool) -> bool:
    return all(is_content_word(word, language) for language in languages or (None,))


def _is_number(word: str, languages: Languages, begins: bool) -> bool:
    return is_number(word, languages)


_ROWS: tuple[tuple[str, str, Kind], ...] = (
    ("content", f"{RULE}; numbers and names are among them", _is_content),
    ("numbers", NUMBER_RULE, _is_number),
    ("names", NAME_RULE, is_name),
)
RULES: dict[str, str] = {f"wer_{name}": rule for name, rule, _ in _ROWS}
"""Which words each metric counts, by key."""
WER = tuple(
    RatioMetric(
        key=f"wer_{name}",
        label=f"WER {'content words' if name == 'content' else name}",
        counts=partial(_counts, kind=kind),
        suffix=f"|words:{name}",
        lower_is_better=True,
        highest=float("inf"),
        optional=True,
    )
    for name, _, kind in _ROWS
)


def words_counted(
    references: Sequence[str], preset: str, choices: TextChoices, metrics: Iterable[str]
) -> dict[str, dict[str, Any]]:
    """Returns which words each of these metrics counts, and how many of them the references have, by key; nothing for
    metrics that count none."""
    rules, asked = Rules(preset_named(preset), choices), {*metrics}
    wanted = rules.applied(references)
    counts = {one.key: int(one.counts(wanted, wanted, rules)[:, 1].sum()) for one in WER if one.key in asked}
    return {key: {"rule": RULES[key], "languages": [*rules.languages], "words": count} for key, count in counts.items()}
