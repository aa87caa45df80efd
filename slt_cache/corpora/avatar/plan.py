"""What will be drawn: corpus settings in; clips (signs, sentence, signer, seed) and further sentences out.

Dev and test sentences occur nowhere else, and neither do their signed sequences. Draws and writes nothing."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from random import Random

from slt_cache.config.sections import CorpusConfig
from slt_cache.corpora.avatar.grammar import Grammar, load_grammar
from slt_cache.corpora.avatar.signers import Signer, make_signers
from slt_cache.corpora.clips import SPLITS
from slt_cache.errors import InputError

DEV_SHARE = 0.08
TEST_SHARE = 0.12
HELD_OUT_LIMIT = 0.5
"""Share of a pattern's sequences that dev and test may take, so that training sees every pattern."""

Number = tuple[int, int]
"""A signed sequence: index of its pattern, number within the pattern."""


@dataclass(frozen=True)
class PlannedClip:
    """One clip before it is drawn."""

    id: str
    split: str
    signs: tuple[str, ...]
    """In signed order."""
    text: str
    signer: Signer
    seed: int
    """Of the clip's small changes of size, position, tempo and places."""


@dataclass(frozen=True)
class AvatarPlan:
    clips: tuple[PlannedClip, ...]
    """In manifest order: train, dev, test."""
    monolingual: tuple[str, ...]
    """Distinct sentences without a video; those of dev and test are not among them."""


def plan_avatar(corpus: CorpusConfig) -> AvatarPlan:
    """The whole corpus but its pictures. Raises InputError where dev and test get too few sentences."""
    grammar = load_grammar(corpus.language, corpus.difficulty)
    random = Random(f"{corpus.seed}/{corpus.difficulty}/sentences")  # not the language: all three say the same
    counts = _counts(corpus.clips)
    held_out = counts["dev"] + counts["test"]
    room = [int(pattern.size * HELD_OUT_LIMIT) for pattern in grammar.patterns]
    if held_out > sum(room):
        # One less: both counts are rounded.
        largest = int((sum(room) - 1) / (DEV_SHARE + TEST_SHARE))
        raise InputError(
            f"corpus.clips={corpus.clips} needs {held_out} distinct sentences for dev and test alone; "
            f"corpus.difficulty={corpus.difficulty} has enough for {largest} clips at most. Choose fewer."
        )
    unseen = _draw(grammar, held_out, random, set(), room)
    numbers = {"dev": unseen[: counts["dev"]], "test": unseen[counts["dev"] :]}
    # Beyond the number of distinct sentences training ones come again, with other signers.
    seen = _draw(grammar, min(counts["train"], grammar.size - held_out), random, set(unseen))
    numbers["train"] = [number for number, _ in zip(cycle(seen), range(counts["train"]), strict=False)]
    without_video = _draw(grammar, min(grammar.monolingual, grammar.size - held_out), random, set(unseen))
    return AvatarPlan(
        clips=tuple(_clips(corpus, grammar, numbers)),
        monolingual=tuple(grammar.sentence(_signs(grammar, number)) for number in without_video),
    )


def _counts(clips: int) -> dict[str, int]:
    dev, test = max(1, round(clips * DEV_SHARE)), max(1, round(clips * TEST_SHARE))
    return {"train": clips - dev - test, "dev": dev, "test": test}


def _signs(grammar: Grammar, number: Number) -> tuple[str, ...]:
    pattern, within = number
    return grammar.patterns[pattern].sequence(within)


def _clips(corpus: CorpusConfig, grammar: Grammar, numbers: dict[str, list[Number]]) -> Iterator[PlannedClip]:
    signers = make_signers(corpus.seed)
    for split in SPLITS:
        random = Random(f"{corpus.seed}/{split}/clips")
        people: list[Signer] = []
        for index, number in enumerate(numbers[split]):
            if not people:
                people = random.sample(signers[split], len(signers[split]))
            signs = _signs(grammar, number)
            yield PlannedClip(
                id=f"{split}-{index:05d}",
                split=split,
                signs=signs,
                text=grammar.sentence(signs),
                signer=people.pop(),
                seed=random.getrandbits(32),
            )


def _draw(
    grammar: Grammar, count: int, random: Random, taken: set[Number], room: list[int] | None = None
) -> list[Number]:
    """`count` distinct sequences that are not taken, shared out over the patterns, in random order."""
    used = [0] * len(grammar.patterns)
    for pattern, _ in taken:
        used[pattern] += 1
    sizes = [pattern.size for pattern in grammar.patterns]
    free = room if room is not None else [size - less for size, less in zip(sizes, used, strict=True)]
    drawn: list[Number] = []
    for index, quota in enumerate(_quotas(count, [pattern.share for pattern in grammar.patterns], free)):
        candidates = random.sample(range(sizes[index]), min(sizes[index], quota + used[index]))
        fresh = [(index, number) for number in candidates if (index, number) not in taken]
        drawn.extend(fresh[:quota])
    random.shuffle(drawn)
    return drawn


def _quotas(count: int, shares: list[float], free: list[int]) -> list[int]:
    """How many of each pattern: by share, and what a small pattern cannot give the others take over."""
    quotas = [0] * len(free)
    while (left := count - sum(quotas)) > 0:
        open_patterns = [index for index in range(len(free)) if quotas[index] < free[index]]
        whole = sum(shares[index] for index in open_patterns)
        for index in open_patterns:
            # At least one, so that the loop ends; never more than what is left.
            wanted = max(1, int(left * shares[index] / whole))
            wanted = min(wanted, free[index] - quotas[index], count - sum(quotas))
            quotas[index] += wanted
    return quotas
