"""Paired tests of groups of systems: their p-values, and the sizes of differences."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.significance import PairedTest, Result

from slt_cache.metrics.base import Rules, Statistics
from slt_cache.metrics.normalization import RAW
from slt_cache.metrics.paired import Chance, Difference, effect_over_seeds, effect_over_sentences, paired_difference
from slt_cache.metrics.presets import PRESETS
from slt_cache.metrics.registry import METRICS, of_text
from tests.helpers.scored_runs import REFERENCES, spoilt

RULES = Rules(PRESETS["plain"], RAW)


def statistics(hypotheses: Sequence[str], key: str = "bleu4") -> Statistics:
    return METRICS[key].statistics(hypotheses, REFERENCES, RULES)


def found(ours: Sequence[Sequence[str]], theirs: Sequence[Sequence[str]], resamples: int = 200) -> Difference:
    return paired_difference([statistics(one) for one in ours], [statistics(one) for one in theirs], resamples)


def sacrebleu_p(test_type: str, ours: Sequence[str], theirs: Sequence[str], resamples: int) -> float:
    systems = [("theirs", theirs), ("ours", ours)]
    _, table = PairedTest(systems, {"BLEU": BLEU()}, [REFERENCES], test_type=test_type, n_samples=resamples)()
    [_, tested_one] = table["BLEU"]
    assert isinstance(tested_one, Result) and tested_one.p_value is not None
    return tested_one.p_value


@pytest.mark.parametrize("shares", [(0.25, 0.35), (0.3, 0.34)])
def test_p_of_two_systems_is_sacrebleus(shares: tuple[float, float]) -> None:
    ours, theirs = (spoilt(share, seed) for seed, share in enumerate(shares))
    one = found([ours], [theirs])
    assert one.randomization.two_sided == pytest.approx(sacrebleu_p("ar", ours, theirs, 200))
    assert one.value > 0 and one.interval[0] < one.value < one.interval[1]


def test_one_sided_p_of_the_bootstrap_is_sacrebleus_for_a_clear_difference() -> None:
    ours, theirs = spoilt(0.2, 0), spoilt(0.32, 1)
    one = found([ours], [theirs], 400)
    assert one.bootstrap.one_sided == pytest.approx(sacrebleu_p("bs", ours, theirs, 400))
    assert one.bootstrap.one_sided < one.bootstrap.two_sided < 0.05
    assert one.is_significant


def test_systems_that_differ_in_one_sentence_do_not_differ_significantly() -> None:
    theirs = spoilt(0.3, 0)
    place = next(one for one, text in enumerate(theirs) if text != REFERENCES[one] and len(text.split()) > 4)
    ours = [*theirs[:place], REFERENCES[place], *theirs[place + 1 :]]
    one = found([ours], [theirs])
    assert one.value > 0
    assert one.randomization.two_sided == 1.0
    assert one.randomization.one_sided == pytest.approx(0.5, abs=0.1)
    assert sacrebleu_p("ar", ours, theirs, 200) < 0.01  # it counts larger differences only
    assert not one.is_significant


def test_equal_systems_have_p_1_and_no_difference() -> None:
    one = found([spoilt(0.3, 0)], [spoilt(0.3, 0)])
    assert (one.value, one.bootstrap, one.randomization) == (0.0, Chance(1.0, 1.0), Chance(1.0, 1.0))


def test_a_difference_in_the_other_direction_has_the_same_p() -> None:
    ours, theirs = spoilt(0.25, 0), spoilt(0.35, 1)
    one, other = found([ours], [theirs]), found([theirs], [ours])
    assert other.value == pytest.approx(-one.value)
    assert other.bootstrap == one.bootstrap
    assert other.randomization == one.randomization


def test_groups_of_seeds_are_compared_by_the_mean_of_their_scores() -> None:
    good, poor = [spoilt(0.2, seed) for seed in range(3)], [spoilt(0.4, seed) for seed in (3, 4)]
    one = found(good, poor)
    means = [np.mean([BLEU().corpus_score(texts, [REFERENCES]).score for texts in group]) for group in (good, poor)]
    assert one.value == pytest.approx(float(means[0] - means[1]))
    assert one.is_significant
    assert not found([good[0], good[1]], [good[2]]).is_significant


def share_of_splits(splits: int, resamples: int) -> float:
    """Sentences of two equally good systems are dealt out between two others at random: how often do these differ?"""
    systems = [statistics(spoilt(0.3, seed)) for seed in (0, 1)]
    both = np.stack([one.values for one in systems])
    random, places, differ = np.random.default_rng(0), np.arange(len(REFERENCES)), 0
    for _ in range(splits):
        kept = random.integers(2, size=len(REFERENCES))
        sides = [Statistics(both[one, places], systems[0].score_of) for one in (kept, 1 - kept)]
        differ += paired_difference(sides[:1], sides[1:], resamples).is_significant
    return differ / splits


def test_equally_good_systems_differ_about_as_often_as_the_level_allows() -> None:
    assert share_of_splits(30, 60) <= 0.1  # 3 of 30 with a level of 1 in 20


@pytest.mark.slow
def test_equally_good_systems_differ_in_one_of_20_splits() -> None:
    assert share_of_splits(400, 200) == pytest.approx(0.05, abs=0.025)


@pytest.mark.parametrize("key", of_text(METRICS))
def test_statistics_of_any_sentences_give_the_score_of_these_sentences(key: str) -> None:
    for preset in PRESETS.values():
        rules, hypotheses = Rules(preset, RAW), spoilt(0.3, 0)
        of_all = METRICS[key].statistics(hypotheses, REFERENCES, rules)
        for places in (slice(None), slice(10, 30)):
            wanted = METRICS[key].score(hypotheses[places], REFERENCES[places], rules, None).value
            assert of_all.score_of(of_all.values[places].sum(axis=0)) == pytest.approx(wanted)


def test_the_effect_over_sentences_is_the_mean_difference_in_its_standard_deviations() -> None:
    effect = effect_over_sentences(np.array([3.0, 5.0, 1.0, 1.0]), np.array([1.0, 1.0, 1.0, 2.0]))
    assert (effect.better, effect.equal, effect.worse) == (2, 1, 1)
    assert effect.d == pytest.approx(1.25 / np.std([2, 4, 0, -1], ddof=1))
    for one in ([1.0, 2.0], [5.0]):
        assert effect_over_sentences(np.array(one), np.array(one)).d is None


def test_the_effect_over_seeds_is_the_difference_in_pooled_standard_deviations() -> None:
    assert effect_over_seeds([21.0, 23.0], [18.0, 19.0, 20.0]) == pytest.approx(3 / (4 / 3) ** 0.5)
    assert effect_over_seeds([21.0], [18.0, 19.0]) is None
    assert effect_over_seeds([21.0, 21.0], [18.0, 18.0]) is None


def test_the_mean_of_sentences_is_tested_like_other_metrics() -> None:
    of = partial(statistics, key="rouge_l")
    one = paired_difference([of(spoilt(0.1, 0))], [of(spoilt(0.4, 1))], 100)
    assert one.is_significant and one.value > 0
