"""Scores hypotheses against references, each score with a signature that says how it was computed, and tests the
difference between two sets of hypotheses."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from slt_cache.errors import InputError
from slt_cache.metrics.base import Rules, Score
from slt_cache.metrics.bootstrap import check_resamples, seed
from slt_cache.metrics.normalization import RAW, TextChoices
from slt_cache.metrics.presets import preset_named
from slt_cache.metrics.registry import ALWAYS, METRICS, metric_named, with_requested

RESAMPLES = 1000
"""Default number of resamples of a paired test."""
EQUAL = 1e-9
"""Largest difference between scores that is due to rounding alone."""


@dataclass(frozen=True)
class Comparison:
    """One metric of two sets of hypotheses."""

    name: str
    value: float
    """Score of the hypotheses."""
    other: float
    """Score of the other hypotheses."""
    p: float
    """p-value by sacrebleu's formula, which for a clear difference is one-sided (a two-sided p is about twice as
    large); 1 if the scores are equal."""
    signature: str
    is_better: bool
    """Whether the hypotheses score better than the others, in the direction of the metric."""


def score(
    hypotheses: Sequence[str],
    references: Sequence[str],
    preset: str = "plain",
    choices: TextChoices = RAW,
    bootstrap: int | None = None,
    step: Callable[[], None] = lambda: None,
    metrics: Iterable[str] = (),
) -> dict[str, Score]:
    """Scores a corpus of hypotheses with one reference each, by key of metrics/registry.py: bleu1, bleu2, bleu3, bleu4,
    chrf, rouge_l (ROUGE-L F1), rouge_l_beta12 (ROUGE-L F1.2), and those of `metrics`.

    `preset` says how sentences are tokenized (metrics/presets.py). `bootstrap` is the number of resamples for each 95 %
    interval; None for no interval. `step` is called after each metric, as resampling takes time. Raises InputError if
    the two differ in length or are empty, for an unknown preset or metric, and for a `bootstrap` out of bounds."""
    if bootstrap is not None:
        check_resamples(bootstrap)
    rules, keys = Rules(preset_named(preset), choices), with_requested(metrics)
    _require_pairs(hypotheses, references)
    results, expected = rules.applied(hypotheses), rules.applied(references)
    scores: dict[str, Score] = {}
    for key in keys:
        scores[key] = METRICS[key].score(results, expected, rules, bootstrap)
        step()
    return scores


def compare(
    hypotheses: Sequence[str],
    others: Sequence[str],
    references: Sequence[str],
    preset: str = "plain",
    choices: TextChoices = RAW,
    resamples: int = RESAMPLES,
    step: Callable[[], None] = lambda: None,
    metrics: Iterable[str] = ALWAYS,
) -> dict[str, Comparison]:
    """Tests by paired bootstrap (Koehn 2004) whether two sets of hypotheses for the same references score differently
    in the `metrics`, by more than chance. `step` is called after each.

    Raises InputError if any two of the three differ in length or are empty, and for an unknown preset or metric."""
    check_resamples(resamples)
    rules = Rules(preset_named(preset), choices)
    _require_pairs(hypotheses, references)
    _require_pairs(others, references)
    ours, theirs, expected = rules.applied(hypotheses), rules.applied(others), rules.applied(references)
    signature = f"paired-bs:{resamples}|seed:{seed()}"
    results: dict[str, Comparison] = {}
    for metric in [metric_named(key) for key in metrics]:
        value, other, p = metric.paired(ours, theirs, expected, rules, resamples)
        # sacrebleu's formula gives the smallest p if a file is compared with itself
        p = 1.0 if abs(value - other) < EQUAL else p
        results[metric.key] = Comparison(metric.label, value, other, p, signature, metric.is_better(value, other))
        step()
    return results


def _require_pairs(hypotheses: Sequence[str], references: Sequence[str]) -> None:
    if len(hypotheses) != len(references):
        raise InputError(f"{len(hypotheses)} hypotheses but {len(references)} references; they must pair up.")
    if not references:
        raise InputError("no sentences to score.")
