"""Reliability, from the log-probabilities of tokens with and without the video."""

import json
import math

import pytest

from slt_cache.metrics.grounding import DECIDED, SentenceEvidence, make_evidence

WORDS = [
    ("im", slice(0, 1)),
    ("norden", slice(1, 3)),
    ("regnet", slice(3, 4)),
    ("stark", slice(4, 5)),
    (".", slice(5, 6)),
]
TOKENS = ["im", "nor", "den", "regnet", "stark", "."]
SEEN = [-0.1, -0.2, -0.1, -0.5, -0.3, -0.05, -0.02]


def evidence(*drops: float) -> SentenceEvidence:
    blind = [seen - drop for seen, drop in zip(SEEN, [*drops, 0.0], strict=True)]
    return make_evidence(WORDS, TOKENS, SEEN, blind, "de_DE")


def test_reliability_is_the_share_of_content_tokens_whose_word_the_video_decided() -> None:
    found = evidence(9.0, 0.4, 0.4, 2.0, 0.1, 9.0)
    assert [word.text for word in found.content] == ["norden", "regnet", "stark"]
    assert found.reliability == pytest.approx(3 / 4)  # norden has two of the four tokens
    assert found.mean_drop == pytest.approx((0.8 + 2.0 + 0.1) / 3)
    assert found.explained == pytest.approx((0.8 + 2.0 + 0.1) / (0.3 + 0.8 + 0.5 + 2.0 + 0.3 + 0.1))


def test_a_word_is_decided_if_the_video_makes_it_twice_as_probable_whatever_its_tokens() -> None:
    assert math.exp(DECIDED) == pytest.approx(2)
    half = evidence(0.0, DECIDED / 2, DECIDED / 2 + 1e-9, 0.0, 0.0, 0.0)
    assert [word.is_decided for word in half.words] == [False, True, False, False, False]
    less = evidence(0.0, DECIDED, -0.1, 0.0, 0.0, 0.0)
    assert not any(word.is_decided for word in less.words)


def test_the_mean_log_probability_includes_the_end() -> None:
    found = evidence(*[0.0] * 6)
    assert found.log_probability == pytest.approx(sum(SEEN) / 7)
    assert found.tokens == 7


def test_a_sentence_without_content_is_not_reliable() -> None:
    empty = make_evidence([], [], [-0.5], [-0.5], "de_DE")
    marks = make_evidence([("und", slice(0, 1))], ["und"], [-0.1, -0.1], [-9.0, -0.1], "de_DE")
    for found in (empty, marks):
        assert found.reliability == 0
        assert found.mean_drop == found.explained == 0
        assert "has no content words" in found.warning
    assert empty.log_probability == -0.5


def test_it_warns_of_a_sentence_of_which_the_video_decided_less_than_half() -> None:
    assert "decided 1 of 3 content words" in evidence(0.0, 0.0, 0.0, 5.0, 0.0, 0.0).warning
    assert evidence(0.0, 5.0, 0.0, 0.0, 0.0, 0.0).warning == ""  # two of four tokens


def test_json_holds_everything() -> None:
    found = evidence(9.0, 0.4, 0.4, 2.0, 0.1, 9.0)
    saved = json.loads(json.dumps(found.to_json()))
    assert saved["reliability"] == 0.75
    assert [token["token"] for token in saved["words"][1]["tokens"]] == ["nor", "den"]
    assert saved["words"][1]["decided"] and saved["words"][1]["content"]
    again = SentenceEvidence.from_json(saved)
    assert again.to_json() == saved
    assert again.reliability == found.reliability
