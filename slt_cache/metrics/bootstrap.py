"""Bootstrap over sentences by sacrebleu, and in the same way for metrics that are means over sentences: confidence
intervals and paired tests."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from slt_cache.errors import InputError

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric
    from sacrebleu.significance import Result

FEWEST_RESAMPLES = 40
"""A 95 % interval leaves out one resample in 40 at either end."""
MOST_RESAMPLES = 10_000
"""sacrebleu draws them all at once: 2 GB for the chrF of How2Sign's 2,357 test sentences."""


def check_resamples(resamples: int, option: str = "--bootstrap") -> None:
    """Raises InputError for a number of resamples that yields no interval or that no memory holds, and for a seed of
    the environment that is none. `option` is the one that named the number."""
    seed()
    if not FEWEST_RESAMPLES <= resamples <= MOST_RESAMPLES:
        raise InputError(f"{option} {resamples}: use {FEWEST_RESAMPLES} to {MOST_RESAMPLES}, such as 1000.")


def seed() -> int:
    """Returns sacrebleu's seed: SACREBLEU_SEED of the environment, else 12345. Raises InputError if it is not a seed.

    0 is refused because sacrebleu's paired test takes it for "none"."""
    named = os.environ.get("SACREBLEU_SEED", "12345")
    if not (named.isascii() and named.isdigit()) or int(named) == 0:
        raise InputError(f"SACREBLEU_SEED={named}: not a whole number from 1. Set one, or unset it for 12345.")
    return int(named)


def draws(sentences: int, resamples: int) -> np.ndarray:
    """Returns the sentences of each resample, the ones that sacrebleu draws too: int64 [resamples, sentences]."""
    return np.random.default_rng(seed()).choice(sentences, size=(resamples, sentences), replace=True)


def metric_interval(
    metric: "Metric", hypotheses: Sequence[str], references: Sequence[str], resamples: int
) -> tuple[float, float, str]:
    """Returns the mean of a sacrebleu metric over the resamples, half the width of its 95 % interval, and the signature
    of both.

    Computed by sacrebleu's paired test of a single system: `corpus_score(n_bootstrap=...)` gives the same interval, but
    raises a TypeError if some resamples score 0 and others do not (chrF: Python's 0.0 among numpy's float32)."""
    signature, [found] = _paired_test(metric, [hypotheses], references, resamples)
    assert found.mean is not None and found.ci is not None
    return float(found.mean), float(found.ci), signature


def paired_metric(
    metric: "Metric", ours: Sequence[str], theirs: Sequence[str], references: Sequence[str], resamples: int
) -> tuple[float, float, float]:
    """Returns a sacrebleu metric of ours, of theirs, and the p-value of the difference."""
    _, [baseline, tested] = _paired_test(metric, [theirs, ours], references, resamples)
    assert tested.p_value is not None
    return float(tested.score), float(baseline.score), float(tested.p_value)


def _paired_test(
    metric: "Metric", systems: Sequence[Sequence[str]], references: Sequence[str], resamples: int
) -> tuple[str, list["Result"]]:
    """Returns the signature and a result for each system. A test has one metric, since sacrebleu keeps metrics by its
    own name for them, which is "BLEU" for BLEU-1..4."""
    from sacrebleu.significance import PairedTest, Result

    named = [(str(number), texts) for number, texts in enumerate(systems)]
    signatures, table = PairedTest(named, {"metric": metric}, [references], test_type="bs", n_samples=resamples)()
    [signature] = signatures.values()
    [results] = (rows for name, rows in table.items() if name != "System")
    return str(signature), [row for row in results if isinstance(row, Result)]


def mean_interval(values: np.ndarray, resamples: int) -> tuple[float, float]:
    """Returns the mean over the resamples of the mean of `values` [sentences], and half the width of its 95 %
    interval."""
    from sacrebleu.significance import estimate_ci

    middle, half = estimate_ci(values[draws(len(values), resamples)].mean(axis=1))
    return float(middle), float(half)


def paired_means(values: np.ndarray, others: np.ndarray, resamples: int) -> tuple[float, float, float]:
    """Returns two means over the same sentences and the p-value of their difference by paired bootstrap (Koehn 2004),
    with sacrebleu's formula: how often the resampled difference leaves its mean by more than the difference itself."""
    value, other = float(values.mean()), float(others.mean())
    differences = np.abs((values - others)[draws(len(values), resamples)].mean(axis=1))
    return value, other, _p_of(differences, value - other)


def ratio(counts: np.ndarray) -> np.ndarray:
    """Returns 100 times the sum of the errors per word, from errors and words of each sentence, [..., sentences, 2];
    without any word, as if there were one."""
    errors, words = np.moveaxis(counts.sum(axis=-2), -1, 0)
    quotients: np.ndarray = 100.0 * errors / np.maximum(words, 1)
    return quotients


def ratio_interval(counts: np.ndarray, resamples: int) -> tuple[float, float]:
    """Returns the mean over the resamples of the ratio of `counts` [sentences, 2], and half the width of its 95 %
    interval."""
    from sacrebleu.significance import estimate_ci

    middle, half = estimate_ci(ratio(counts[draws(len(counts), resamples)]))
    return float(middle), float(half)


def paired_ratios(counts: np.ndarray, others: np.ndarray, resamples: int) -> tuple[float, float, float]:
    """Returns two ratios over the same sentences and the p-value of their difference, as `paired_means` does."""
    value, other = float(ratio(counts)), float(ratio(others))
    drawn = draws(len(counts), resamples)
    return value, other, _p_of(np.abs(ratio(counts[drawn]) - ratio(others[drawn])), value - other)


def _p_of(differences: np.ndarray, difference: float) -> float:
    further = np.sum(differences - differences.mean() > abs(difference))
    return float(further + 1) / (len(differences) + 1)
