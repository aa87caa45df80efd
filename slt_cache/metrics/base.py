"""Defines a metric: a key, a label, a direction, and how to compute it over a corpus, with a confidence interval, in a
paired test, and of parts of the corpus. There are four kinds: those of sacrebleu, errors per word, and means over
sentences, which may be computed by a neural model."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from slt_cache.corpora.characters import NORMALIZATION
from slt_cache.metrics.bootstrap import (
    mean_interval,
    metric_interval,
    paired_means,
    paired_metric,
    paired_ratios,
    ratio,
    ratio_interval,
    seed,
)
from slt_cache.metrics.content_words import short_code
from slt_cache.metrics.normalization import TextChoices
from slt_cache.metrics.presets import Preset

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric as SacrebleuMetric

NORMALIZED = f"|norm:{NORMALIZATION}"
"""Part of every signature."""


@dataclass(frozen=True)
class Score:
    """The value of one metric, and how it was computed."""

    name: str
    value: float
    signature: str
    interval: tuple[float, float] | None = None
    """95 %; None unless a bootstrap was requested."""


@dataclass(frozen=True)
class Statistics:
    """What a metric adds up over the sentences of one system."""

    values: np.ndarray
    """float64 [sentences, k]."""
    score_of: Callable[[np.ndarray], float]
    """Function from the sum of any of the sentences, [k], to their score."""


@dataclass(frozen=True)
class Rules:
    """Rules for scoring the text of a corpus."""

    preset: Preset
    choices: TextChoices

    def applied(self, texts: Sequence[str]) -> list[str]:
        """Returns the texts as they are scored."""
        return [self.choices.applied(text, self.preset.dot) for text in texts]

    @property
    def languages(self) -> tuple[str, ...]:
        """Short codes of the languages of the sentences: those that are known, else that of the preset's corpus."""
        return tuple(dict.fromkeys(map(short_code, self.choices.languages or self.preset.languages)))

    @property
    def signature(self) -> str:
        """The end of every signature; empty unless something was chosen."""
        return self.choices.signature(self.preset.dot)


@dataclass(frozen=True, kw_only=True)
class Metric(ABC):
    """One row of the registry. Texts are given as `Rules.applied` returns them."""

    key: str
    """Name in settings, in `--json` and in records."""
    label: str
    """Name in tables, pages and messages."""
    suffix: str = ""
    """Part of the signature that the underlying library does not write."""
    lower_is_better: bool = False
    lowest: float = 0.0
    highest: float = 100.0
    """Ends of its scale."""
    decimals: int = 1
    """Of a value in the log of a training."""
    optional: bool = False
    """Whether it is computed only on request."""
    is_neural: bool = False
    """Whether a neural model computes it, which takes its time; the report shows its score and does not resample it."""

    check: Callable[[TextChoices], None] = lambda choices: None
    """Function that raises InputError if a package is missing, before hours of work."""

    @property
    def heading(self) -> str:
        """The label in narrow tables: `B-4` for BLEU-4."""
        return self.label.replace("BLEU-", "B-")

    def is_better(self, value: float, other: float) -> bool:
        """Returns whether a value is strictly better than another."""
        return value < other if self.lower_is_better else value > other

    def best(self, values: Iterable[float]) -> float:
        """Returns the best of these values."""
        return min(values) if self.lower_is_better else max(values)

    @abstractmethod
    def score(self, hypotheses: Sequence[str], references: Sequence[str], rules: Rules, bootstrap: int | None) -> Score:
        """Scores a corpus; `bootstrap` is the number of resamples for the interval."""

    @abstractmethod
    def paired(
        self, ours: Sequence[str], theirs: Sequence[str], references: Sequence[str], rules: Rules, resamples: int
    ) -> tuple[float, float, float]:
        """Returns the score of ours, the score of theirs, and the p-value of a paired bootstrap test."""

    @abstractmethod
    def statistics(self, hypotheses: Sequence[str], references: Sequence[str], rules: Rules) -> Statistics:
        """Returns what the score of any of the sentences follows from."""

    def _around(self, value: float, middle: float, half: float) -> tuple[float, float]:
        """Returns sacrebleu's interval, the mean of the resamples +- half a width, clipped to the scale. It contains
        `value`, which may lie outside if a few resamples of a handful of sentences score 0."""
        return min(max(middle - half, self.lowest), value), max(min(middle + half, self.highest), value)


@dataclass(frozen=True, kw_only=True)
class CorpusMetric(Metric):
    """A metric of sacrebleu, computed from the statistics of the whole corpus."""

    make: Callable[[Rules], "SacrebleuMetric"]

    def score(self, hypotheses: Sequence[str], references: Sequence[str], rules: Rules, bootstrap: int | None) -> Score:
        metric, interval = self.make(rules), None
        value, signature = float(metric.corpus_score(hypotheses, [references]).score), str(metric.get_signature())
        if bootstrap is not None:
            middle, half, signature = metric_interval(metric, hypotheses, references, bootstrap)
            interval = self._around(value, middle, half)
        return Score(self.label, value, f"{signature}{NORMALIZED}{self.suffix}{rules.signature}", interval)

    def paired(
        self, ours: Sequence[str], theirs: Sequence[str], references: Sequence[str], rules: Rules, resamples: int
    ) -> tuple[float, float, float]:
        return paired_metric(self.make(rules), ours, theirs, references, resamples)

    def statistics(self, hypotheses: Sequence[str], references: Sequence[str], rules: Rules) -> Statistics:
        metric = self.make(rules)
        values = metric._extract_corpus_statistics(hypotheses, [references])
        return Statistics(np.array(values, float), partial(_sacrebleu_score, metric))


def _sacrebleu_score(metric: "SacrebleuMetric", sums: np.ndarray) -> float:
    return float(metric._compute_score_from_stats(list(sums)).score)


@dataclass(frozen=True, kw_only=True)
class RatioMetric(Metric):
    """A metric that is a number of errors per 100 words of the references."""

    counts: Callable[[Sequence[str], Sequence[str], Rules], np.ndarray]
    """Function of (hypotheses, references, rules) that returns errors and words of each sentence, int64 [sentences,
    2]."""

    def score(self, hypotheses: Sequence[str], references: Sequence[str], rules: Rules, bootstrap: int | None) -> Score:
        counts = self.counts(hypotheses, references, rules)
        value, interval, drawn = float(ratio(counts)), None, ""
        if bootstrap is not None:
            interval = self._around(value, *ratio_interval(counts, bootstrap))
            drawn = f"|bs:{bootstrap}|seed:{seed()}"
        languages = "+".join(rules.languages) or "unknown"
        how = f"errors-per-word{NORMALIZED}{self.suffix}|lang:{languages}{drawn}{rules.signature}"
        return Score(self.label, value, how, interval)

    def paired(
        self, ours: Sequence[str], theirs: Sequence[str], references: Sequence[str], rules: Rules, resamples: int
    ) -> tuple[float, float, float]:
        our_counts, their_counts = (self.counts(texts, references, rules) for texts in (ours, theirs))
        return paired_ratios(our_counts, their_counts, resamples)

    def statistics(self, hypotheses: Sequence[str], references: Sequence[str], rules: Rules) -> Statistics:
        counts = self.counts(hypotheses, references, rules)
        return Statistics(counts.astype(float), _ratio)


def _ratio(sums: np.ndarray) -> float:
    return float(ratio(sums[np.newaxis]))


@dataclass(frozen=True, kw_only=True)
class MeanMetric(Metric):
    """A metric that is the mean of a value per sentence."""

    @abstractmethod
    def measured(self, hypotheses: Sequence[str], references: Sequence[str], rules: Rules) -> tuple[np.ndarray, str]:
        """Returns the value of each sentence, float64 [sentences], and the beginning of the signature."""

    def score(self, hypotheses: Sequence[str], references: Sequence[str], rules: Rules, bootstrap: int | None) -> Score:
        values, tool = self.measured(hypotheses, references, rules)
        value, interval, drawn = float(values.mean()), None, ""
        if bootstrap is not None:
            interval = self._around(value, *mean_interval(values, bootstrap))
            drawn = f"|bs:{bootstrap}|seed:{seed()}"
        return Score(self.label, value, f"{tool}|mean:sentences{drawn}{self.suffix}{rules.signature}", interval)

    def paired(
        self, ours: Sequence[str], theirs: Sequence[str], references: Sequence[str], rules: Rules, resamples: int
    ) -> tuple[float, float, float]:
        our_values, their_values = (self.measured(texts, references, rules)[0] for texts in (ours, theirs))
        return paired_means(our_values, their_values, resamples)

    def statistics(self, hypotheses: Sequence[str], references: Sequence[str], rules: Rules) -> Statistics:
        values, _ = self.measured(hypotheses, references, rules)
        return Statistics(np.stack([values, np.ones(len(values))], axis=1), _mean)


def _mean(sums: np.ndarray) -> float:
    return float(sums[0] / sums[1])


@dataclass(frozen=True, kw_only=True)
class SentenceMetric(MeanMetric):
    """A mean over sentences that are split into the units of the preset."""

    values: Callable[[Sequence[str], Sequence[str], Preset], np.ndarray]
    """Function of (hypotheses, references, preset) that returns float64 [sentences]."""
    tool: str
    """Library that computes it; the beginning of the signature."""

    def measured(self, hypotheses: Sequence[str], references: Sequence[str], rules: Rules) -> tuple[np.ndarray, str]:
        how = f"{self.tool}{NORMALIZED}|units:{rules.preset.rouge_units_name}"
        return self.values(hypotheses, references, rules.preset), how


@dataclass(frozen=True, kw_only=True)
class NeuralMetric(MeanMetric):
    """A mean over sentences of a value that a neural model gives to each hypothesis, times 100."""

    measure: Callable[[tuple[str, ...], tuple[str, ...], TextChoices], tuple[np.ndarray, str]]
    """Function of (hypotheses, references, choices) that returns float64 [sentences] and how it was computed."""
    lowest: float = -math.inf
    highest: float = math.inf
    optional: bool = True
    is_neural: bool = True

    def measured(self, hypotheses: Sequence[str], references: Sequence[str], rules: Rules) -> tuple[np.ndarray, str]:
        values, how = self.measure(tuple(hypotheses), tuple(references), rules.choices)
        return 100 * values, f"{how}{NORMALIZED}"
