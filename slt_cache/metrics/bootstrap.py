"""Bootstrap over sentences by sacrebleu, and in the same way for the figures that are means over sentences."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from slt_cache.errors import InputError

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric

FEWEST_RESAMPLES = 40
"""A 95 % interval leaves out one resample in 40 at either end."""
MOST_RESAMPLES = 10_000
"""sacrebleu draws them all at once: 2 GB for the chrF of How2Sign's 2,357 test sentences."""


def check_resamples(resamples: int) -> None:
    """Raises InputError for a number of resamples that no interval comes from, or that no memory holds."""
    if not FEWEST_RESAMPLES <= resamples <= MOST_RESAMPLES:
        raise InputError(f"--bootstrap {resamples}: use {FEWEST_RESAMPLES} to {MOST_RESAMPLES}, such as 1000.")


def seed() -> int:
    """sacrebleu's: the environment's SACREBLEU_SEED, else 12345. Raises InputError for what is no seed.

    0 is refused because sacrebleu's paired test takes it for "none"."""
    named = os.environ.get("SACREBLEU_SEED", "12345")
    if not (named.isascii() and named.isdigit()) or int(named) == 0:
        raise InputError(f"SACREBLEU_SEED={named}: not a whole number from 1. Set one, or unset it for 12345.")
    return int(named)


def draws(sentences: int, resamples: int) -> np.ndarray:
    """int64 [resamples, sentences]: the sentences of each resample, the very ones that sacrebleu draws."""
    return np.random.default_rng(seed()).choice(sentences, size=(resamples, sentences), replace=True)


def metric_interval(
    metric: "Metric", hypotheses: Sequence[str], references: Sequence[str], resamples: int
) -> tuple[float, float, str]:
    """Mean of a sacrebleu metric over the resamples, half the width of its 95 % interval, and the signature of both.

    Computed by sacrebleu's paired test of a single system: `corpus_score(n_bootstrap=...)` gives the same interval, but
    raises a TypeError where some resamples score 0 and others do not (chrF: Python's 0.0 among numpy's float32)."""
    from sacrebleu.significance import PairedTest, Result

    test = PairedTest([("ours", hypotheses)], {"figure": metric}, [references], test_type="bs", n_samples=resamples)
    signatures, table = test()
    [signature] = signatures.values()
    [found] = (row for name, rows in table.items() if name != "System" for row in rows)
    assert isinstance(found, Result) and found.mean is not None and found.ci is not None
    return float(found.mean), float(found.ci), str(signature)


def mean_interval(values: np.ndarray, resamples: int) -> tuple[float, float]:
    """Mean over the resamples of the mean of `values` [sentences], and half the width of its 95 % interval."""
    from sacrebleu.significance import estimate_ci

    middle, half = estimate_ci(values[draws(len(values), resamples)].mean(axis=1))
    return float(middle), float(half)


def paired_p(values: np.ndarray, others: np.ndarray, resamples: int) -> float:
    """p-value of the difference of two means over the same sentences, by paired bootstrap (Koehn 2004), with
    sacrebleu's formula: how often the resampled difference leaves its mean by more than the difference itself."""
    drawn = draws(len(values), resamples)
    differences = np.abs((values - others)[drawn].mean(axis=1))
    further = np.sum(differences - differences.mean() > abs(values.mean() - others.mean()))
    return float(further + 1) / (resamples + 1)
