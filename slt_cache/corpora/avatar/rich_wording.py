"""The wording of a signed sequence at difficulty 4, where language is the hard part: many wordings per sign, of which a
neighbour picks one without a rule; adjectives that agree; conjunctions that move the verb; numbers made of two signs.

The comments in grammar.rich.yaml and wording.rich.*.yaml explain the fields."""

import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from slt_cache.corpora.avatar.lexicon import lexicon
from slt_cache.corpora.avatar.wording import MIDDLE, joined, statements

VERB_LAST = ">"
"""Mark after a conjunction: the clause that it begins has its verb at the end."""
PARTICLE = "~"
"""Mark before the separable part of a verb."""
ADJECTIVE = re.compile(r"\{([a-z]*)\}")
"""Place of an adjective with this ending; the number is {n}, which occurs in no weather wording."""
PLACES = ("region", "city")


def pick(count: int, *names: str) -> int:
    """Returns one of `count` wordings for a pair of signs: always the same one, without any rule."""
    return zlib.crc32(" ".join(names).encode()) % count


@dataclass(frozen=True)
class RichWording:
    """Wordings of one language."""

    wordings: Mapping[str, list[str]]
    degrees: Sequence[str]
    numbers: Mapping[str, list[str]]
    """Wordings of each sign for tens: alone, then with each unit in the order of the lexicon."""
    strengths: Mapping[str, Mapping[str, list[str]]]
    """Weather sign -> STRONG or LIGHT -> stems of adjectives."""
    main: str
    middle: Sequence[str]
    chosen_by: Mapping[str, list[str]]
    front: Sequence[str]
    pick: Callable[..., int] = pick
    """Picks a wording; replaced to see what a guess would make of the signs."""

    def sentence(self, signs: Sequence[str]) -> str:
        return joined([self._statement(statement) for statement in statements(signs)], self.main)

    def _statement(self, of_group: Mapping[str, str]) -> str:
        words = {group: self._wording(group, of_group) for group in of_group if group in self.chosen_by}
        words["weather"] = self._with_adjective(words["weather"], of_group)
        words["place"] = next((words[group] for group in PLACES if group in words), "")
        conjunction = words.get("link") or words.get("later", "")
        fronted = self._fronted(of_group)
        verb_last = conjunction.endswith(VERB_LAST)
        middle = " ".join(words.get(part, "") for part in self.middle if verb_last or part != fronted)
        clause = words["weather"]
        clause = verb_at_the_end(clause) if verb_last else clause.replace(PARTICLE, "")
        return self.main.format(
            link=conjunction.removesuffix(VERB_LAST),
            front="" if verb_last or not fronted else words[fronted],
            weather=clause.replace(MIDDLE, middle),
            degree=self._degree(of_group),
        )

    def _fronted(self, of_group: Mapping[str, str]) -> str:
        """Returns which part of `middle` begins the clause; none after an adverb such as `und später`, which begins
        it."""
        if "later" in of_group:
            return ""
        there = [group for group in self.front if group in of_group]
        chosen = there[self.pick(len(there), "front", *(of_group[group] for group in there))]
        return "place" if chosen in PLACES else chosen

    def _wording(self, group: str, of_group: Mapping[str, str]) -> str:
        wordings = self.wordings.get(of_group[group], [""])
        return wordings[self.pick(len(wordings), of_group[group], self._neighbour(group, of_group))]

    def _neighbour(self, group: str, of_group: Mapping[str, str]) -> str:
        return next((of_group[other] for other in self.chosen_by[group] if other in of_group), "")

    def _with_adjective(self, weather: str, of_group: Mapping[str, str]) -> str:
        """Adds adjectives, which depend on the weather and on what decides its wording, and agree with its noun."""
        if "strength" not in of_group:
            return ADJECTIVE.sub("", weather)
        stems = self.strengths[of_group["weather"]][of_group["strength"]]
        stem = stems[self.pick(len(stems), of_group["strength"], self._neighbour("strength", of_group))]
        return ADJECTIVE.sub(lambda ending: stem + ending.group(1), weather)

    def _degree(self, of_group: Mapping[str, str]) -> str:
        if "tens" not in of_group:
            return ""
        index = lexicon().of_group("unit", level=3).index(of_group["unit"]) + 1 if "unit" in of_group else 0
        phrase = self.degrees[self.pick(len(self.degrees), of_group["tens"], self._neighbour("tens", of_group))]
        return phrase.format(n=self.numbers[of_group["tens"]][index])


def verb_at_the_end(clause: str) -> str:
    """Turns `ziehen … schauer ~durch` into `… schauer durchziehen`; a pronoun after the verb, `regnet es … stark`,
    stays where it is, before the middle."""
    verb, _, rest = clause.partition(" ")
    rest, separable, particle = rest.partition(PARTICLE)
    return f"{rest} {particle if separable else ''}{verb}"
