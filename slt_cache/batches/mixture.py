"""Mixture of corpora and languages: how often the clips of each occur in an epoch, by temperature.

With n_i clips of corpus and language i and the temperature T, its share of an epoch is proportional to n_i^(1/T): 1
leaves the clips as they are, higher values bring the shares closer together (Arivazhagan et al. 2019). An epoch has as
many clips as ever; small corpora are repeated in it, large ones are spread over several epochs."""

from collections.abc import Hashable, Sequence

import numpy as np


class Mixture:
    """Clips of each epoch, which follow from (seed, epoch)."""

    def __init__(self, groups: Sequence[Hashable], temperature: float, seed: int):
        """Takes the group of each clip."""
        self.seed = seed
        members: dict[Hashable, list[int]] = {}
        for clip, group in enumerate(groups):
            members.setdefault(group, []).append(clip)
        self.members = [np.array(clips) for clips in members.values()]
        self.counts = _counts([len(clips) for clips in self.members], temperature)
        """Clips of each group in an epoch."""

    def epoch(self, epoch: int) -> np.ndarray:
        """Returns the clips of an epoch, group by group, int64 [clips]. One that occurs for the nth time (from 0) is
        its index plus n times the number of all clips, so that each occurrence can be augmented differently."""
        drawn = [self._drawn(group, epoch) for group in range(len(self.members))]
        return np.concatenate(drawn)

    def _drawn(self, group: int, epoch: int) -> np.ndarray:
        """Returns the clips of one group in an epoch. Over the epochs a group goes through all of its clips, shuffled,
        before any of them occurs again."""
        clips, count = self.members[group], self.counts[group]
        first = max(epoch - 1, 0) * count
        places = np.arange(first, first + count)
        rounds = places // len(clips)
        orders = {
            number: np.random.default_rng((self.seed, group, number)).permutation(clips)
            for number in dict.fromkeys(rounds.tolist())
        }
        found = [
            int(orders[number][place % len(clips)])
            for number, place in zip(rounds.tolist(), places.tolist(), strict=True)
        ]
        seen: dict[int, int] = {}
        total = sum(self.counts)
        for place, clip in enumerate(found):
            seen[clip] = seen.get(clip, -1) + 1
            found[place] = clip + seen[clip] * total
        return np.array(found, np.int64)


def mixture_of(groups: Sequence[Hashable], temperature: float | None, seed: int) -> Mixture | None:
    """Returns the mixture of the groups of clips; None if every clip occurs once in each epoch, as without a
    temperature, at temperature 1, or with one group."""
    if temperature in (None, 1.0) or len(set(groups)) < 2:
        return None
    return Mixture(groups, temperature, seed)


def _counts(sizes: Sequence[int], temperature: float) -> list[int]:
    """Returns the clips of each group in an epoch, as many in all as there are, at least one of each. What rounding
    leaves goes to the largest remainders."""
    weights = np.array(sizes, float) ** (1 / temperature)
    wanted = weights / weights.sum() * sum(sizes)
    counts = np.maximum(np.floor(wanted), 1).astype(int)
    order = np.argsort(counts - wanted, kind="stable")
    for place in range(sum(sizes) - int(counts.sum())):
        counts[order[place % len(order)]] += 1
    while counts.sum() > sum(sizes):
        counts[int(np.argmax(counts))] -= 1
    return [int(count) for count in counts]
