"""Scores of groups of systems, and the test of one group against another: significance, effect size, and where the
difference comes from."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from slt_cache.comparison.systems import Group, System
from slt_cache.corpora.base import of_split
from slt_cache.corpora.manifest import read_manifest
from slt_cache.metrics.base import Rules, Statistics
from slt_cache.metrics.breakdown import WordsOfFrequency, bins_of_length, by_frequency, count_words
from slt_cache.metrics.paired import Difference, Effect, effect_over_seeds, effect_over_sentences, paired_difference
from slt_cache.metrics.prediction import sentence_chrf
from slt_cache.metrics.registry import METRICS
from slt_cache.metrics.seeds import MeanAndStd


@dataclass(frozen=True)
class ScoredGroup:
    """Scores of the runs of one configuration."""

    name: str
    model: str
    runs: list[str]
    seeds: list[int]
    scores: Mapping[str, list[float]]
    """Score of each run, by metric."""
    on_test: Mapping[str, list[str]]
    """Runs whose choices were, or may have been, made on test, with what shows it (on_test.py)."""

    def mean(self, key: str) -> float:
        return MeanAndStd(tuple(self.scores[key])).mean

    def spread(self, key: str) -> float | None:
        """Returns the standard deviation over seeds; None for a single run."""
        return MeanAndStd(tuple(self.scores[key])).deviation


@dataclass(frozen=True)
class MetricTest:
    """Difference in one metric."""

    difference: Difference
    is_better: bool
    """Whether the group is better than the baseline, in the direction of the metric."""
    seeds_d: float | None
    """Cohen's d over seeds; None with a single seed on either side."""


@dataclass(frozen=True)
class OfLength:
    """Scores of the sentences whose references have similar lengths."""

    least: int
    most: int
    clips: int
    scores: tuple[float, float]
    """Of the baseline and of the group, in the metric that decides: means over their runs."""


@dataclass(frozen=True)
class Changed:
    """A sentence that changed."""

    clip_id: str
    reference: str
    hypotheses: tuple[str, str]
    """Of the first run of the baseline, and of the first of the group."""
    chrf: tuple[float, float]
    """chrF of the sentence, means over the runs of both."""


@dataclass(frozen=True)
class GroupTest:
    """One group against the baseline."""

    group: str
    baseline: str
    metrics: Mapping[str, MetricTest]
    effect: Effect
    """Over sentences, in their chrF."""
    lengths: list[OfLength]
    frequencies: list[tuple[WordsOfFrequency, WordsOfFrequency]]
    """Of the baseline and of the group; empty if the sentences of train are not known."""
    changed: list[Changed]
    """The sentences that gained most, then those that lost most; most first."""


@dataclass(frozen=True)
class _Measured:
    """Sentences of one system in the order of the references, and what the metrics add up over them."""

    texts: list[str]
    scored: list[str]
    """The texts as they are scored."""
    statistics: Mapping[str, Statistics]
    chrf: np.ndarray
    """float64 [sentences]."""


class Measures:
    """Measures of all systems of a comparison, by system."""

    def __init__(self, systems: Sequence[System], rules: Rules, keys: Sequence[str], step: Callable[[], None]):
        """Computes what `keys` of METRICS need of each sentence; `step` is called after each system."""
        self.rules, self.keys = rules, keys
        self.ids = [one.clip_id for one in systems[0].sentences]
        self.references = [one.reference for one in systems[0].sentences]
        self.expected = rules.applied(self.references)
        self._of: dict[System, _Measured] = {}
        for one in systems:
            self._of[one] = self._measured(one)
            step()
        scored = self._of[systems[0]].scored
        self.signatures = {key: METRICS[key].score(scored, self.expected, rules, None).signature for key in keys}

    def _measured(self, system: System) -> _Measured:
        of_clip = {one.clip_id: one.hypothesis for one in system.sentences}
        texts = [of_clip[clip_id] for clip_id in self.ids]
        scored = self.rules.applied(texts)
        statistics = {key: METRICS[key].statistics(scored, self.expected, self.rules) for key in self.keys}
        return _Measured(texts, scored, statistics, np.array(sentence_chrf(texts, self.references, self.rules)))

    def _side(self, group: Group) -> list[_Measured]:
        return [self._of[one] for one in group.systems]

    def score(self, group: Group, on_test: Mapping[System, list[str]]) -> ScoredGroup:
        """Returns the scores of a group; `on_test` has what shows choices on test, by system."""
        measured = self._side(group)
        scores = {key: [_score(one.statistics[key], slice(None)) for one in measured] for key in self.keys}
        names = [str(one.run.folder) for one in group.systems]
        seeds = [one.seed for one in group.systems]
        chosen = {name: why for name, one in zip(names, group.systems, strict=True) if (why := on_test.get(one))}
        return ScoredGroup(group.name, group.model, names, seeds, scores, chosen)

    def test(
        self,
        group: Group,
        base: Group,
        metric: str,
        train: Counter[str] | None,
        resamples: int,
        changed: int,
        step: Callable[[], None],
    ) -> GroupTest:
        """Tests a group against the baseline. `metric` is that of the lengths, `train` has the occurrences of each word
        in train, and `changed` is the number of sentences in either direction. `step` is called after each metric."""
        ours, theirs = self._side(group), self._side(base)
        metrics = {}
        for key in self.keys:
            metrics[key] = self._metric(key, ours, theirs, resamples)
            step()
        chrf = [np.mean([one.chrf for one in side], axis=0) for side in (theirs, ours)]
        return GroupTest(
            group.name,
            base.name,
            metrics,
            effect_over_sentences(chrf[1], chrf[0]),
            self._lengths(metric, theirs, ours),
            [] if train is None else self._frequencies(train, theirs, ours),
            self._changed(chrf, theirs[0], ours[0], changed),
        )

    def _metric(self, key: str, ours: list[_Measured], theirs: list[_Measured], resamples: int) -> MetricTest:
        one, other = ([measured.statistics[key] for measured in side] for side in (ours, theirs))
        found = paired_difference(one, other, resamples)
        over_seeds = effect_over_seeds(*([_score(each, slice(None)) for each in side] for side in (one, other)))
        return MetricTest(found, METRICS[key].is_better(found.value, 0.0), over_seeds)

    def _lengths(self, metric: str, theirs: list[_Measured], ours: list[_Measured]) -> list[OfLength]:
        words = self.rules.preset.rouge_units
        return [
            OfLength(
                one.least,
                one.most,
                len(one.places),
                (_mean_score(theirs, metric, one.places), _mean_score(ours, metric, one.places)),
            )
            for one in bins_of_length([len(words(text)) for text in self.expected])
        ]

    def _frequencies(
        self, train: Counter[str], theirs: list[_Measured], ours: list[_Measured]
    ) -> list[tuple[WordsOfFrequency, WordsOfFrequency]]:
        words = self.rules.preset.rouge_units
        sides = [by_frequency([one.scored for one in side], self.expected, words, train) for side in (theirs, ours)]
        return list(zip(*sides, strict=True))

    def _changed(self, chrf: list[np.ndarray], theirs: _Measured, ours: _Measured, number: int) -> list[Changed]:
        gains = chrf[1] - chrf[0]
        order = np.argsort(-gains, kind="stable")
        best = [place for place in order[:number] if gains[place] > 0]
        worst = [place for place in order[::-1][:number] if gains[place] < 0]
        return [
            Changed(
                self.ids[place],
                self.references[place],
                (theirs.texts[place], ours.texts[place]),
                (float(chrf[0][place]), float(chrf[1][place])),
            )
            for place in (*best, *worst)
        ]


def _score(statistics: Statistics, places: np.ndarray | slice) -> float:
    return statistics.score_of(statistics.values[places].sum(axis=0))


def _mean_score(side: list[_Measured], metric: str, places: np.ndarray) -> float:
    return float(np.mean([_score(one.statistics[metric], places) for one in side]))


def words_of_train(system: System, rules: Rules) -> Counter[str] | None:
    """Returns the occurrences of each word in the train split of a run's manifest; None without a manifest."""
    if not system.run.manifest.is_file():
        return None
    sentences = [clip.text for clip in of_split(read_manifest(system.run.manifest), "train")]
    return count_words(rules.applied(sentences), rules.preset.rouge_units)
