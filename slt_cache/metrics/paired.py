"""Tests whether two groups of systems score differently on the same sentences by more than chance, by paired bootstrap
(Koehn 2004) and by approximate randomization (Riezler and Maxwell 2005), and how large the difference is.

A group has one system, or several that were trained with different seeds; its score is the mean of theirs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from slt_cache.metrics.base import Statistics
from slt_cache.metrics.bootstrap import draws, seed
from slt_cache.metrics.scores import EQUAL

SIGNIFICANT = 0.05
"""Two-sided p of both tests below which a difference counts as found."""


@dataclass(frozen=True)
class Chance:
    """How probable a difference is without any, by one test."""

    two_sided: float
    """p of a difference of at least this size in either direction."""
    one_sided: float
    """p of a difference of at least this size in the direction that was found."""


@dataclass(frozen=True)
class Difference:
    """Difference of one metric between two groups."""

    value: float
    """Score of ours minus score of theirs."""
    interval: tuple[float, float]
    """95 %: percentiles of the bootstrap."""
    bootstrap: Chance
    randomization: Chance

    @property
    def is_significant(self) -> bool:
        """Whether both tests find it."""
        return max(self.bootstrap.two_sided, self.randomization.two_sided) < SIGNIFICANT


@dataclass(frozen=True)
class Effect:
    """Size of a difference over sentences, in a score of each sentence."""

    d: float | None
    """Cohen's d of paired values, the mean difference divided by its standard deviation; None if that is 0."""
    better: int
    equal: int
    worse: int


def paired_difference(ours: Sequence[Statistics], theirs: Sequence[Statistics], resamples: int) -> Difference:
    """Tests the difference between two groups. The bootstrap draws sentences, the same for all systems; its p-values
    are of resampled differences around their mean. The randomization shuffles the systems' outputs for each sentence.
    Both draw as sacrebleu does with the same seed, and unlike it count differences as large as the one found: else two
    systems that differ in a single sentence would differ significantly."""
    values = np.stack([one.values for one in (*ours, *theirs)])  # [systems, sentences, k]
    systems, sentences, _ = values.shape
    shares = np.repeat([1 / len(ours), -1 / len(theirs)], [len(ours), len(theirs)])
    score_of, places = ours[0].score_of, np.arange(sentences)
    found = _difference(values, score_of, shares)
    resampled = np.array([_difference(values[:, one], score_of, shares) for one in draws(sentences, resamples)])
    shuffled = np.array(
        [_difference(values[one, places], score_of, shares) for one in _shuffles(systems, sentences, resamples)]
    )
    low, high = np.percentile(resampled, (2.5, 97.5))
    return Difference(
        found, (float(low), float(high)), _chance(resampled - resampled.mean(), found), _chance(shuffled, found)
    )


def _difference(values: np.ndarray, score_of: Callable[[np.ndarray], float], shares: np.ndarray) -> float:
    return float(shares @ [score_of(sums) for sums in values.sum(axis=1)])


def _shuffles(systems: int, sentences: int, trials: int) -> Iterator[np.ndarray]:
    """Yields, for each trial, which system each output is taken from: int64 [systems, sentences]."""
    random = np.random.default_rng(seed())
    if systems == 2:
        for swapped in random.integers(2, size=(trials, sentences), dtype=bool):
            yield np.stack([swapped, ~swapped]).astype(int)
        return
    for _ in range(trials):
        yield random.random((systems, sentences)).argsort(axis=0)


def _chance(without: np.ndarray, found: float) -> Chance:
    """Returns the p-values of a difference, given differences [resamples] that are due to chance."""
    if abs(found) < EQUAL:
        return Chance(1.0, 1.0)
    directed, least = without * np.sign(found), abs(found) - EQUAL
    return Chance(_p(np.abs(directed) >= least), _p(directed >= least))


def _p(extreme: np.ndarray) -> float:
    return (int(extreme.sum()) + 1) / (len(extreme) + 1)


def effect_over_sentences(ours: np.ndarray, theirs: np.ndarray) -> Effect:
    """Returns the size of a difference, given a score of each sentence, [sentences], of ours and of theirs."""
    differences = ours - theirs
    better, worse = int((differences > EQUAL).sum()), int((differences < -EQUAL).sum())
    d = _ratio(float(differences.mean()), float(differences.std(ddof=1)) if len(differences) > 1 else 0.0)
    return Effect(d, better, len(differences) - better - worse, worse)


def effect_over_seeds(ours: Sequence[float], theirs: Sequence[float]) -> float | None:
    """Returns Cohen's d: the difference between the mean scores of two groups, divided by the pooled standard deviation
    over seeds; None if either has a single seed, or if all seeds score the same."""
    if min(len(ours), len(theirs)) < 2:
        return None
    squares = sum((len(one) - 1) * float(np.var(one, ddof=1)) for one in (ours, theirs))
    return _ratio(float(np.mean(ours) - np.mean(theirs)), (squares / (len(ours) + len(theirs) - 2)) ** 0.5)


def _ratio(difference: float, spread: float) -> float | None:
    return difference / spread if spread > EQUAL else None
