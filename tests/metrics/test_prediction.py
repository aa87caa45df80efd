"""How well a number predicts the quality of sentences, against values computed by hand."""

import numpy as np
import pytest

from slt_cache.metrics.base import Rules
from slt_cache.metrics.normalization import RAW
from slt_cache.metrics.prediction import auroc, calibration, prediction, rank_correlation, ranks, sentence_chrf
from slt_cache.metrics.presets import PRESETS


def test_equal_values_share_their_ranks() -> None:
    assert ranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [3.5, 1, 3.5, 2]


def test_the_rank_correlation_is_that_of_the_textbook() -> None:
    one, other = np.array([1.0, 2, 3, 4, 5]), np.array([5.0, 6, 7, 8, 7])
    assert rank_correlation(one, other) == pytest.approx(0.8207826817)  # scipy.stats.spearmanr
    assert rank_correlation(one, np.exp(one)) == pytest.approx(1)
    assert rank_correlation(one, -one) == pytest.approx(-1)
    assert np.isnan(rank_correlation(one, np.ones(5)))


def test_the_area_counts_pairs_of_right_and_wrong() -> None:
    values, right = np.array([0.9, 0.4, 0.4, 0.1]), np.array([True, True, False, False])
    pairs = [(0.9, 0.4), (0.9, 0.1), (0.4, 0.4), (0.4, 0.1)]
    assert auroc(values, right) == pytest.approx(sum((a > b) + (a == b) / 2 for a, b in pairs) / 4)
    assert np.isnan(auroc(values, np.ones(4, bool)))


def test_calibration_has_all_sentences_and_no_empty_bin() -> None:
    found = calibration(np.array([0.0, 0.19, 1.0, 0.8]), np.array([10.0, 60.0, 90.0, 30.0]))
    assert [(one["from"], one["clips"], one["chrf"], one["right"]) for one in found] == [
        (0.0, 2, 35.0, 0.5),
        (0.8, 2, 60.0, 0.5),
    ]


def test_a_good_predictor_is_told_from_a_useless_one() -> None:
    random = np.random.default_rng(0)
    quality = random.uniform(0, 100, 200)
    predictors = {"good": (quality + random.normal(0, 5, 200)).tolist(), "useless": random.normal(size=200).tolist()}
    found = prediction(predictors, quality.tolist(), random.uniform(size=200).tolist())
    good, useless = found["predictors"]["good"], found["predictors"]["useless"]
    assert good["auroc"]["value"] > 0.95 and good["rank_correlation"]["value"] > 0.9
    assert useless["auroc"]["low"] < 0.5 < useless["auroc"]["high"]
    assert useless["auroc_below_first"]["low"] > 0
    for row in (good, useless):
        assert row["auroc"]["low"] <= row["auroc"]["value"] <= row["auroc"]["high"]
    assert found["right"] == int((quality >= 50).sum())
    assert sum(one["clips"] for one in found["calibration"]) == 200


def test_without_enough_wrong_sentences_there_is_no_area() -> None:
    found = prediction({"reliability": [0.1 * place for place in range(10)]}, [90.0] * 6 + [10.0] * 4, [0.5] * 10)
    assert "auroc" not in found["predictors"]["reliability"]
    assert found["predictors"]["reliability"]["rank_correlation"]["value"] < 0


def test_a_constant_predictor_has_no_correlation() -> None:
    found = prediction({"reliability": [1.0] * 20}, list(range(5, 105, 5)), [1.0] * 20)
    assert found["predictors"]["reliability"]["rank_correlation"] is None
    assert found["predictors"]["reliability"]["auroc"]["value"] == 0.5


def test_sentence_quality_is_that_of_sacrebleu() -> None:
    rules = Rules(PRESETS["plain"], RAW)
    assert sentence_chrf(["im norden regnet es", ""], ["im norden regnet es", "schnee"], rules) == [100.0, 0.0]
