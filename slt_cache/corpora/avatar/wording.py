"""The wording of a signed sequence at difficulties 1 to 3: a wording file in, one sentence per sequence out."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from slt_cache.corpora.avatar.lexicon import lexicon

SECOND_STATEMENT = ("later", "link")
"""Groups that begin a second statement."""
MIDDLE = "…"
"""Mark in a weather wording for the middle of the clause."""


class Wording(Protocol):
    def sentence(self, signs: Sequence[str]) -> str:
        """Returns the one sentence that belongs to a signed sequence."""
        ...


def statements(signs: Sequence[str]) -> list[dict[str, str]]:
    """Returns the signs of each statement by group."""
    found: list[dict[str, str]] = [{}]
    for name in signs:
        group = lexicon().signs[name].group
        if group in SECOND_STATEMENT:
            found.append({})
        found[-1][group] = name
    return found


def joined(parts: Sequence[str], template: str) -> str:
    """Joins statements into one sentence: with single spaces, or none if the language writes none between words."""
    if " " in template:
        return re.sub(" +", " ", " ".join(parts)).strip()
    return "".join(parts).replace(" ", "")


@dataclass(frozen=True)
class PlainWording:
    """One wording per sign, or one of three or four that a neighbour picks by its place in the lexicon."""

    wordings: Mapping[str, list[str]]
    chosen_by: Mapping[str, list[str]]
    by_neighbours: bool
    statement: str
    middle: str

    def sentence(self, signs: Sequence[str]) -> str:
        return joined([self._statement(statement) for statement in statements(signs)], self.statement)

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
