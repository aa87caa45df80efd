"""Presets of tokenization before scoring, one per data set: the same output scores 34, 56 or 60 BLEU-4 depending on
it."""

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from slt_cache.errors import InputError
from slt_cache.metrics.normalization import SPACE_AND_DOT
from slt_cache.text.scripts import is_wide


@dataclass(frozen=True)
class Preset:
    """Units that the metrics count."""

    name: str
    bleu_tokenize: str
    """sacrebleu's name of the tokenizer."""
    rouge_units: Callable[[str], list[str]]
    rouge_units_name: str
    dot: str = SPACE_AND_DOT
    """Text that `final_dot="add"` appends."""
    languages: tuple[str, ...] = ()
    """Language of the corpus, for metrics that look at words, unless another is known."""


def split_on_whitespace(text: str) -> list[str]:
    """Returns words as whitespace separates them; umlauts and punctuation stay."""
    return text.split()


def split_words(text: str) -> list[str]:
    """Returns lowercased runs of letters and digits of any script with their vowel signs and accents. Punctuation is
    dropped; a sentence that has nothing else is split on whitespace, since equal ones would score 0 otherwise."""
    lowered = text.lower()
    words = "".join(one if _in_word(one) else " " for one in lowered).split()
    return words or lowered.split()


def _in_word(character: str) -> bool:
    """Returns whether a character belongs to a word. Unlike Python's `\\w`, it includes marks (categories M*), which
    are half of a Hindi or Thai word."""
    return character.isalnum() or character == "_" or unicodedata.category(character).startswith("M")


def split_characters(text: str) -> list[str]:
    """Returns every character except whitespace."""
    return [character for character in text if not character.isspace()]


def split_mixed(text: str) -> list[str]:
    """Returns words as `split_words` does, but every Chinese or Japanese character by itself."""
    return split_words("".join(f" {character} " if is_wide(character) else character for character in text))


MIXED = "mixed"
"""Name of the preset of sentences in several languages that would have different ones."""
PRESETS = {
    "plain": Preset("plain", "13a", split_words, "words"),
    "phoenix14t": Preset("phoenix14t", "none", split_on_whitespace, "blanks", languages=("de",)),
    "csl-daily": Preset("csl-daily", "char", split_characters, "characters", dot="。", languages=("zh",)),
    "how2sign": Preset("how2sign", "13a", split_words, "words", languages=("en",)),
    # sacrebleu's zh separates Chinese characters and treats the rest almost like 13a.
    MIXED: Preset(MIXED, "zh", split_mixed, "words and Chinese characters"),
}


def preset_named(name: str, where: str = "preset") -> Preset:
    """Returns the preset. Raises InputError for an unknown one; `where` is the option or setting that named it."""
    if name not in PRESETS:
        raise InputError(f"{where} {name}: no such preset. Use {', '.join(PRESETS)}.")
    return PRESETS[name]
