"""Scores broken down by the length of references and by how often words occur in train."""

from collections import Counter

import pytest

from slt_cache.metrics.breakdown import bins_of_length, by_frequency, count_words


def test_bins_of_length_have_every_sentence_once_and_equal_lengths_together() -> None:
    lengths = [7, 3, 3, 3, 9, 12, 5, 4]
    bins = bins_of_length(lengths)
    assert sorted(place for one in bins for place in one.places.tolist()) == list(range(8))
    assert [(one.least, one.most) for one in bins] == [(3, 3), (4, 4), (5, 7), (9, 12)]
    assert [(one.least, one.most) for one in bins_of_length([4, 4, 4])] == [(4, 4)]
    assert [one.places.tolist() for one in bins_of_length([2])] == [[0]]


def test_words_are_counted_by_their_occurrences_in_train() -> None:
    train = Counter({"im": 12, "norden": 9, "regnet": 1})
    references = ["im norden regnet es es", "im norden schneit es"]
    hypotheses = ["im norden regnet", "im süden schneit es es"]
    found = by_frequency([hypotheses], references, str.split, train)
    assert [(one.least, one.most, one.words) for one in found] == [(0, 0, 4), (1, 2, 1), (3, 9, 2), (10, 29, 2)]
    # unknown to train: es es, schneit es expected, süden schneit es es said, schneit es common
    assert [one.f1 for one in found] == pytest.approx([200 * 2 / 8, 100.0, 200 * 1 / (2 + 1), 100.0])


def test_several_systems_are_counted_together() -> None:
    found = by_frequency([["a"], ["b"]], ["a"], str.split, Counter({"a": 1, "b": 5000}))
    assert [(one.least, one.words) for one in found] == [(1, 1)]
    assert found[0].f1 == pytest.approx(200 / 3)
    assert count_words(["a b", "b"], str.split) == Counter({"b": 2, "a": 1})
