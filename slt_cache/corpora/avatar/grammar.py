"""The grammar: a grammar file and a wording file in; signed sequences, by number, and their sentences out.

A pattern is a signed order of groups (`time region weather`). Its sequences are numbered 0 .. size - 1, so that drawing
distinct numbers draws distinct sequences. Draws nothing at random itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

from slt_cache.corpora.avatar.lexicon import LEXICON_FILE, RICH_LEXICON_FILE, lexicon, read_data
from slt_cache.corpora.avatar.rich_wording import RichWording
from slt_cache.corpora.avatar.wording import PlainWording, Wording
from slt_cache.errors import InputError

LANGUAGES = ("de", "en", "zh")
RICH = 4
"""The difficulty whose language is the hard part; it has its own files."""
WORDED_SEPARATELY = ("degree", "strength", "tens", "unit")
"""Groups that difficulty 4 does not sign, or whose words are not listed under `signs`."""
SHARES = {"dev": 0.08, "test": 0.12}
"""Shares of the clips, unless a difficulty defines others."""


def grammar_file(difficulty: int) -> str:
    return "grammar.rich.yaml" if difficulty == RICH else "grammar.yaml"


def wording_file(language: str, difficulty: int) -> str:
    return f"wording.rich.{language}.yaml" if difficulty == RICH else f"wording.{language}.yaml"


def data_files(language: str, difficulty: int) -> tuple[str, ...]:
    """Returns the names of all files that decide the sentences and pictures of a difficulty."""
    lexicons = (LEXICON_FILE, RICH_LEXICON_FILE) if difficulty == RICH else (LEXICON_FILE,)
    return (*lexicons, grammar_file(difficulty), wording_file(language, difficulty))


@dataclass(frozen=True)
class Pattern:
    """A signed order of groups and the signs that may fill it."""

    groups: tuple[str, ...]
    share: float
    """Share of the clips, relative to the other patterns."""
    options: dict[str, list[str]]

    @property
    def size(self) -> int:
        """The number of distinct sequences."""
        return prod(self._radices())

    def sequence(self, number: int) -> tuple[str, ...]:
        """Returns the signs of sequence `number`, 0 <= number < size; different numbers give different signs."""
        signs: list[str] = []
        for group, radix in zip(self.groups, self._radices(), strict=True):
            number, digit = divmod(number, radix)
            free = [name for name in self.options[group] if name not in signs]
            signs.append(free[digit])
        return tuple(signs)

    def _radices(self) -> list[int]:
        # A group that comes a second time takes another sign than the first time.
        return [
            len(self.options[group]) - self.groups[:position].count(group) for position, group in enumerate(self.groups)
        ]


@dataclass(frozen=True)
class Grammar:
    """Patterns of one difficulty with the wordings of one language."""

    patterns: tuple[Pattern, ...]
    monolingual: int
    """Most sentences without a video."""
    wording: Wording
    shares: Mapping[str, float]
    """Shares of the clips in dev and test."""
    tail: float = 0.0
    """The n-th sign of a group is (n + 1) ** -tail times as frequent as its first; 0: all alike."""

    @property
    def size(self) -> int:
        """The number of distinct signed sequences, and of sentences."""
        return sum(pattern.size for pattern in self.patterns)

    @property
    def signs(self) -> list[str]:
        """Returns all signs that occur, in the order of the lexicon."""
        used = {name for pattern in self.patterns for group in pattern.groups for name in pattern.options[group]}
        return [name for name in lexicon().signs if name in used]

    def sentence(self, signs: Sequence[str]) -> str:
        """Returns the one sentence that belongs to a signed sequence."""
        return self.wording.sentence(signs)


def load_grammar(language: str, difficulty: int) -> Grammar:
    """Loads the grammar of one language. Raises InputError if a sign has no wording or a wording no sign."""
    rules = read_data(grammar_file(difficulty))
    wording = read_data(wording_file(language, difficulty))
    return _rich(rules, wording, language) if difficulty == RICH else _plain(rules, wording, language, difficulty)


def _plain(rules: Any, wording: Any, language: str, difficulty: int) -> Grammar:
    _require_wordings(wording["signs"], wording_file(language, difficulty), level=2)
    chosen = rules["difficulties"][difficulty]
    return Grammar(
        patterns=tuple(
            _pattern(groups.split(), share, chosen["level"]) for groups, share in chosen["patterns"].items()
        ),
        monolingual=chosen["monolingual"],
        wording=PlainWording(
            wordings=wording["signs"],
            chosen_by=rules["chosen_by"],
            by_neighbours=chosen["wording"] == "neighbours",
            statement=wording["statement"],
            middle=wording["middle"],
        ),
        shares=SHARES,
    )


def _rich(rules: Any, wording: Any, language: str) -> Grammar:
    """Makes a pattern of every combination that the slots offer."""
    _require_wordings(wording["signs"], wording_file(language, RICH), level=3, without=WORDED_SEPARATELY)
    patterns = []
    for choices in product(*(slot.items() for slot in rules["slots"])):
        groups = " ".join(groups for groups, _ in choices).split()
        patterns.append(_pattern(groups, prod(share / 100 for _, share in choices), rules["level"]))
    return Grammar(
        patterns=tuple(patterns),
        monolingual=rules["monolingual"],
        wording=RichWording(
            wordings=wording["signs"],
            degrees=wording["degrees"],
            numbers=wording["numbers"],
            strengths=wording["strengths"],
            main=wording["main"],
            middle=wording["middle"],
            chosen_by=rules["chosen_by"],
            front=rules["front"],
        ),
        shares=rules["shares"],
        tail=rules["tail"],
    )


def _pattern(groups: Sequence[str], share: float, level: int) -> Pattern:
    options = {group: lexicon().of_group(group, level) for group in groups}
    return Pattern(groups=tuple(groups), share=float(share), options=options)


def _require_wordings(signs: Mapping[str, Any], file: str, level: int, without: Sequence[str] = ()) -> None:
    known = {sign.name for sign in lexicon().signs.values() if sign.level <= level and sign.group not in without}
    if signs.keys() != known:
        wrong = ", ".join(sorted(signs.keys() ^ known))
        raise InputError(f"{file}: not the signs of the lexicon; on one side only: {wrong}.")
