"""The plan of the demo corpus: corpus settings in; clips (signs, sentence, signer, seed) and further sentences out.

Dev and test sentences occur nowhere else, and neither do their signed sequences. Draws and writes nothing."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, cycle
from random import Random

from slt_cache.config.data import CorpusConfig
from slt_cache.corpora.avatar.grammar import Grammar, load_grammar
from slt_cache.corpora.avatar.signers import Signer, make_signers
from slt_cache.corpora.base import SPLITS
from slt_cache.errors import InputError

HELD_OUT_LIMIT = 0.5
"""Share of a pattern's sequences that dev and test may take, so that training sees every pattern."""

Number = tuple[int, int]
"""A signed sequence: index of its pattern, number within the pattern."""
Signs = tuple[str, ...]
"""A signed sequence: its signs."""


@dataclass(frozen=True)
class PlannedClip:
    """One clip before it is drawn."""

    id: str
    split: str
    signs: tuple[str, ...]
    """Signs in signed order."""
    text: str
    signer: Signer
    seed: int
    """Seed of the clip's small changes of size, position, tempo and places."""


@dataclass(frozen=True)
class AvatarPlan:
    clips: tuple[PlannedClip, ...]
    """Clips in manifest order: train, dev, test."""
    monolingual: tuple[str, ...]
    """Distinct sentences without a video; those of dev and test are not among them."""


def plan_avatar(corpus: CorpusConfig) -> AvatarPlan:
    """Plans the whole corpus except its pictures. Raises InputError if dev and test get too few sentences."""
    grammar = load_grammar(corpus.language, corpus.difficulty)
    random = Random(f"{corpus.seed}/{corpus.difficulty}/sentences")  # not the language: all three say the same
    counts = _counts(corpus.clips, grammar)
    _require_room(corpus, grammar, counts)
    draw = _drawn_with_tail if grammar.tail else _drawn_evenly
    unseen, seen, without_video = draw(grammar, counts, random)
    sequences = {
        "dev": unseen[: counts["dev"]],
        "test": unseen[counts["dev"] :],
        # Beyond the number of distinct sentences training ones come again, with other signers.
        "train": [signs for signs, _ in zip(cycle(seen), range(counts["train"]), strict=False)],
    }
    return AvatarPlan(
        clips=tuple(_clips(corpus, grammar, sequences)),
        monolingual=tuple(grammar.sentence(signs) for signs in without_video),
    )


def _counts(clips: int, grammar: Grammar) -> dict[str, int]:
    held_out = {split: max(1, round(clips * share)) for split, share in grammar.shares.items()}
    return {"train": clips - sum(held_out.values()), **held_out}


def _room(grammar: Grammar) -> list[int]:
    """Returns how many sequences of each pattern dev and test may take."""
    return [int(pattern.size * HELD_OUT_LIMIT) for pattern in grammar.patterns]


def _require_room(corpus: CorpusConfig, grammar: Grammar, counts: dict[str, int]) -> None:
    held_out, room = counts["dev"] + counts["test"], sum(_room(grammar))
    if held_out > room:
        # One less: both counts are rounded.
        largest = int((room - 1) / sum(grammar.shares.values()))
        raise InputError(
            f"corpus.clips={corpus.clips} needs {held_out} distinct sentences for dev and test alone; "
            f"corpus.difficulty={corpus.difficulty} has enough for {largest} clips at most. Choose fewer."
        )


def _clips(corpus: CorpusConfig, grammar: Grammar, sequences: dict[str, list[Signs]]) -> Iterator[PlannedClip]:
    signers = make_signers(corpus.seed)
    for split in SPLITS:
        random = Random(f"{corpus.seed}/{split}/clips")
        people: list[Signer] = []
        for index, signs in enumerate(sequences[split]):
            if not people:
                people = random.sample(signers[split], len(signers[split]))
            yield PlannedClip(
                id=f"{split}-{index:05d}",
                split=split,
                signs=signs,
                text=grammar.sentence(signs),
                signer=people.pop(),
                seed=random.getrandbits(32),
            )


def _drawn_with_tail(grammar: Grammar, counts: dict[str, int], random: Random) -> tuple[list[Signs], ...]:
    """Returns the same as `_drawn_evenly`, but the first signs of each group are frequent and the last ones rare, in
    every split alike."""
    held_out = counts["dev"] + counts["test"]
    free = grammar.size - held_out
    unseen = _tailed(grammar, held_out, random, set())
    seen = _tailed(grammar, min(counts["train"], free), random, set(unseen))
    return unseen, seen, _tailed(grammar, min(grammar.monolingual, free), random, set(unseen))


def _tailed(grammar: Grammar, count: int, random: Random, taken: set[Signs]) -> list[Signs]:
    """Draws `count` distinct sequences that are not taken. There are some thousand times as many, so rejected draws
    cost little."""
    shares = list(accumulate(pattern.share for pattern in grammar.patterns))
    ranks = max(len(names) for pattern in grammar.patterns for names in pattern.options.values())
    weights = list(accumulate((rank + 1) ** -grammar.tail for rank in range(ranks)))
    drawn: dict[Signs, None] = {}
    while len(drawn) < count:
        [pattern] = random.choices(grammar.patterns, cum_weights=shares)
        signs = [name for group in pattern.groups for name in _one_of(pattern.options[group], weights, random)]
        if len(set(signs)) == len(signs) and tuple(signs) not in taken:
            drawn[tuple(signs)] = None
    return list(drawn)


def _one_of(names: list[str], cum_weights: list[float], random: Random) -> list[str]:
    return random.choices(names, cum_weights=cum_weights[: len(names)])


def _drawn_evenly(grammar: Grammar, counts: dict[str, int], random: Random) -> tuple[list[Signs], ...]:
    """Returns the held-out sequences, those of train, and those without a video, which may be among train's."""
    held_out = counts["dev"] + counts["test"]
    free = grammar.size - held_out
    unseen = _draw(grammar, held_out, random, set(), _room(grammar))
    seen = _draw(grammar, min(counts["train"], free), random, set(unseen))
    without_video = _draw(grammar, min(grammar.monolingual, free), random, set(unseen))
    return tuple(
        [grammar.patterns[pattern].sequence(number) for pattern, number in numbers]
        for numbers in (unseen, seen, without_video)
    )


def _draw(
    grammar: Grammar, count: int, random: Random, taken: set[Number], room: list[int] | None = None
) -> list[Number]:
    """Draws `count` distinct sequences that are not taken, distributed over the patterns, in random order."""
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
    """Returns how many sequences each pattern contributes: by share, and the others make up for a pattern that is too
    small."""
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
