"""Measures how well a number that needs no reference, such as reliability, predicts the quality of sentences: rank
correlation, area under the ROC curve for finding wrong sentences, calibration. All intervals are 95 %, by bootstrap
over the sentences."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from slt_cache.metrics.base import Rules
from slt_cache.metrics.bootstrap import draws

RIGHT = 50.0
"""chrF of a sentence from which it counts as right; below it is wrong."""
FEWEST_OF_A_KIND = 5
"""Fewest right and fewest wrong sentences for an area under the ROC curve."""
BINS = 5
"""Equal bins of 0..1 of the calibration."""
RESAMPLES = 1000


def sentence_chrf(hypotheses: Sequence[str], references: Sequence[str], rules: Rules) -> list[float]:
    """Returns sacrebleu's chrF of each sentence, 0..100, of the scored text."""
    from sacrebleu.metrics.chrf import CHRF

    chrf = CHRF(lowercase=rules.choices.lowercase)
    pairs = zip(rules.applied(hypotheses), rules.applied(references), strict=True)
    return [float(chrf.sentence_score(hypothesis, [reference]).score) for hypothesis, reference in pairs]


def ranks(values: np.ndarray) -> np.ndarray:
    """Returns the ranks of values [n] from 1; equal values have the mean of theirs."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum()
    mean: np.ndarray = (last - (counts - 1) / 2)[places]
    return mean


def rank_correlation(values: np.ndarray, others: np.ndarray) -> float:
    """Returns Spearman's rank correlation, -1..1; NaN if either has only equal values."""
    one, other = (ranks(each) - (len(each) + 1) / 2 for each in (values, others))
    scale = np.sqrt((one**2).sum() * (other**2).sum())
    return float((one * other).sum() / scale) if scale > 0 else float("nan")


def auroc(values: np.ndarray, right: np.ndarray) -> float:
    """Returns the area under the ROC curve, 0..1: how often a right sentence has a higher value than a wrong one, with
    equal values counted half; NaN if all or none are right."""
    positive, negative = int(right.sum()), int((~right).sum())
    if not positive or not negative:
        return float("nan")
    return float((ranks(values)[right].sum() - positive * (positive + 1) / 2) / (positive * negative))


def prediction(
    predictors: Mapping[str, Sequence[float]], qualities: Sequence[float], shares: Sequence[float]
) -> dict[str, Any]:
    """Returns how well each predictor, higher for better, predicts the qualities (sentence chrF, 0..100): rank
    correlation and AUROC with intervals, the difference of its AUROC from that of the first predictor, and the
    calibration of `shares`, 0..1."""
    quality = np.array(qualities)
    right = quality >= RIGHT
    values = {name: np.array(found, float) for name, found in predictors.items()}
    samples = draws(len(quality), RESAMPLES)
    enough = min(int(right.sum()), int((~right).sum())) >= FEWEST_OF_A_KIND
    first = next(iter(values.values()))
    table = {}
    for name, found in values.items():
        table[name] = {"rank_correlation": _interval(rank_correlation, found, quality, samples)}
        if enough:
            table[name]["auroc"] = _interval(auroc, found, right, samples)
        if enough and found is not first:
            both = [auroc(first[one], right[one]) - auroc(found[one], right[one]) for one in samples]
            ahead = auroc(first, right) - auroc(found, right)
            table[name]["auroc_below_first"] = _with_interval(ahead, both)
    return {
        "clips": len(quality),
        "right": int(right.sum()),
        "right_from_chrf": RIGHT,
        "predictors": table,
        "calibration": calibration(np.array(shares), quality),
    }


def _interval(
    measure: Callable[[np.ndarray, np.ndarray], float], values: np.ndarray, target: np.ndarray, samples: np.ndarray
) -> dict[str, Any] | None:
    return _with_interval(measure(values, target), [measure(values[one], target[one]) for one in samples])


def _with_interval(value: float, resampled: Sequence[float]) -> dict[str, Any] | None:
    """Returns a value with its percentile interval; None if it is undefined. Resamples without a value are left out."""
    if np.isnan(value):
        return None
    low, high = np.nanpercentile(resampled, (2.5, 97.5))
    return {"value": round(value, 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def calibration(shares: np.ndarray, quality: np.ndarray) -> list[dict[str, Any]]:
    """Returns, for each bin of shares 0..1 that has sentences, their number, mean share, mean chrF and the share of
    right ones."""
    places = np.minimum((shares * BINS).astype(int), BINS - 1)
    return [
        {
            "from": place / BINS,
            "to": (place + 1) / BINS,
            "clips": int(here.sum()),
            "mean": round(float(shares[here].mean()), 4),
            "chrf": round(float(quality[here].mean()), 2),
            "right": round(float((quality[here] >= RIGHT).mean()), 4),
        }
        for place in range(BINS)
        if (here := places == place).any()
    ]
