"""The grammar: grammar.yaml and a wording file in; signed sequences, by number, and their sentences out.

A pattern is a signed order of groups (`time region weather`). Its sequences are numbered 0 .. size - 1, so
that distinct ones are drawn by drawing distinct numbers. Draws nothing at random itself."""

import re
from dataclasses import dataclass
from math import prod

from slt_cache.corpora.avatar.lexicon import lexicon, read_data
from slt_cache.errors import InputError

GRAMMAR_FILE = "grammar.yaml"
LANGUAGES = ("de", "en", "zh")
SECOND_STATEMENT = ("later", "link")
"""Groups that begin a second statement."""
MIDDLE = "…"
"""Mark in a weather wording: region and adverb go here."""


def wording_file(language: str) -> str:
    return f"wording.{language}.yaml"


@dataclass(frozen=True)
class Pattern:
    """A signed order of groups and the signs that may fill it."""

    groups: tuple[str, ...]
    share: float
    """Of the clips, relative to the other patterns."""
    options: dict[str, list[str]]

    @property
    def size(self) -> int:
        """Number of its distinct sequences."""
        return prod(self._radices())

    def sequence(self, number: int) -> tuple[str, ...]:
        """The signs of sequence `number`, 0 <= number < size; different numbers give different signs."""
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
    """Sentences without a video, at most."""
    wordings: dict[str, list[str]]
    chosen_by: dict[str, list[str]]
    by_neighbours: bool
    statement: str
    middle: str

    @property
    def size(self) -> int:
        """Number of distinct signed sequences, and of sentences."""
        return sum(pattern.size for pattern in self.patterns)

    @property
    def signs(self) -> list[str]:
        """All signs that occur, in the order of the lexicon."""
        used = {name for pattern in self.patterns for group in pattern.groups for name in pattern.options[group]}
        return [name for name in lexicon().signs if name in used]

    def sentence(self, signs: tuple[str, ...]) -> str:
        """The one sentence that belongs to a signed sequence."""
        joined = " ".join(self._statement(statement) for statement in _statements(signs))
        return re.sub(" +", " ", joined).strip() if " " in self.statement else joined.replace(" ", "")

    def _statement(self, of_group: dict[str, str]) -> str:
        words = {group: self._wording(group, of_group) for group in of_group}
        first = next((group for group in ("later", "time", "region") if group in words), "")
        middle = self.middle.format(
            region="" if first == "region" else words.get("region", ""), adverb=words.get("adverb", "")
        )
        return self.statement.format(
            link=words.get("link", ""),
            first=words.get(first, ""),
            weather=words["weather"].replace(MIDDLE, middle),
            degree=words.get("degree", ""),
        )

    def _wording(self, group: str, of_group: dict[str, str]) -> str:
        wordings = self.wordings[of_group[group]]
        if not self.by_neighbours:
            return wordings[0]
        neighbour = next((other for other in self.chosen_by[group] if other in of_group), None)
        if neighbour is None:
            return wordings[0]
        rank = lexicon().of_group(neighbour, level=2).index(of_group[neighbour])
        return wordings[rank % len(wordings)]


def _statements(signs: tuple[str, ...]) -> list[dict[str, str]]:
    """The signs of each statement by group."""
    statements: list[dict[str, str]] = [{}]
    for name in signs:
        group = lexicon().signs[name].group
        if group in SECOND_STATEMENT:
            statements.append({})
        statements[-1][group] = name
    return statements


def load_grammar(language: str, difficulty: int) -> Grammar:
    """The grammar of one language. Raises InputError where a sign has no wording or a wording no sign."""
    rules = read_data(GRAMMAR_FILE)
    wording = read_data(wording_file(language))
    if wording["signs"].keys() != lexicon().signs.keys():
        wrong = ", ".join(sorted(wording["signs"].keys() ^ lexicon().signs.keys()))
        raise InputError(f"{wording_file(language)}: not the signs of lexicon.yaml; on one side only: {wrong}.")
    chosen = rules["difficulties"][difficulty]
    patterns = []
    for groups, share in chosen["patterns"].items():
        options = {group: lexicon().of_group(group, chosen["level"]) for group in groups.split()}
        patterns.append(Pattern(groups=tuple(groups.split()), share=float(share), options=options))
    return Grammar(
        patterns=tuple(patterns),
        monolingual=chosen["monolingual"],
        wordings=wording["signs"],
        chosen_by=rules["chosen_by"],
        by_neighbours=chosen["wording"] == "neighbours",
        statement=wording["statement"],
        middle=wording["middle"],
    )
