"""Every metric of the registry: its direction, its names, and that those on request change no other score."""

import itertools
import re
from types import SimpleNamespace
from typing import Any

import pytest
import sacrebleu
from rouge_score.rouge_scorer import RougeScorer

from slt_cache.errors import InputError
from slt_cache.metrics.normalization import TextChoices
from slt_cache.metrics.presets import PRESETS
from slt_cache.metrics.registry import (
    ALWAYS,
    IN_PAPER,
    IN_SUMMARY,
    METRICS,
    NEURAL,
    ON_PAGE,
    asked_for,
    of_text,
    page_columns,
    with_requested,
)
from slt_cache.metrics.scores import compare, score
from tests.helpers.real_sentences import real_pairs

REFERENCES = ["im süden regnet es heute stark", "morgen scheint die sonne im norden"] * 20
GOOD = ["im süden regnet es heute", "morgen scheint die sonne im norden"] * 20
OF_WHOLE_TEXTS = [key for key in of_text(METRICS) if not key.startswith("wer_")]
POOR = ["am abend regnet es stark und lange und überall im ganzen land und auf see", "sonne"] * 20


@pytest.mark.parametrize(("key", "preset"), itertools.product(OF_WHOLE_TEXTS, PRESETS))
def test_equal_sentences_have_the_best_score_and_others_a_worse_one(key: str, preset: str) -> None:
    metric = METRICS[key]
    perfect, good, poor = (
        score(texts, REFERENCES, preset, metrics=[key])[key].value for texts in (REFERENCES, GOOD, POOR)
    )
    assert perfect == pytest.approx(0.0 if metric.lower_is_better else 100.0)
    assert metric.is_better(perfect, good) and metric.is_better(good, poor)
    assert not metric.is_better(good, good)
    assert metric.best([poor, perfect, good]) == perfect


@pytest.mark.parametrize("key", OF_WHOLE_TEXTS)
def test_a_paired_test_says_which_is_better_in_the_direction_of_the_metric(key: str) -> None:
    [found] = compare(GOOD, POOR, REFERENCES, "phoenix14t", resamples=100, metrics=[key]).values()
    assert (found.name, found.is_better) == (METRICS[key].label, True)
    assert found.p < 0.05
    [other] = compare(POOR, GOOD, REFERENCES, "phoenix14t", resamples=100, metrics=[key]).values()
    assert not other.is_better


@pytest.mark.parametrize("key", OF_WHOLE_TEXTS)
def test_an_interval_lies_around_its_score(key: str) -> None:
    found = score(POOR, REFERENCES, "phoenix14t", bootstrap=40, metrics=[key])[key]
    low, high = found.interval or (1.0, 0.0)
    assert 0 <= low <= found.value <= high
    assert "bs:40|seed:12345" in found.signature


def test_ter_is_sacrebleus_and_may_exceed_100() -> None:
    found = score(POOR, REFERENCES, metrics=["ter"])["ter"]
    direct = sacrebleu.TER()
    assert found.value == direct.corpus_score(POOR, [REFERENCES]).score
    assert found.signature.startswith(str(direct.get_signature()))
    far = score(POOR[:1], ["regen"], bootstrap=40, metrics=["ter"])["ter"]
    assert far.value > 100 and far.interval is not None and far.interval[1] >= far.value


def test_every_metric_gives_the_number_of_its_package_on_real_sentences() -> None:
    """Those of a neural model are in test_embedding.py and test_models.py."""
    hypotheses, references = (texts[:100] for texts in real_pairs())
    found = score(hypotheses, references, "phoenix14t", metrics=["chrf++", "ter"])
    of_sacrebleu: dict[str, Any] = {
        f"bleu{order}": sacrebleu.BLEU(tokenize="none", max_ngram_order=order) for order in range(1, 5)
    }
    of_sacrebleu |= {"chrf": sacrebleu.CHRF(), "chrf++": sacrebleu.CHRF(word_order=2), "ter": sacrebleu.TER()}
    for key, direct in of_sacrebleu.items():
        assert found[key].value == pytest.approx(direct.corpus_score(hypotheses, [references]).score, abs=1e-9)
        assert found[key].signature.startswith(str(direct.get_signature()))
    scorer = RougeScorer(["rougeL"], tokenizer=SimpleNamespace(tokenize=str.split))
    pairs = [scorer.score(one, other)["rougeL"] for one, other in zip(references, hypotheses, strict=True)]
    weighted = [2.44 * one.precision * one.recall / (one.recall + 1.44 * one.precision or 1) for one in pairs]
    assert found["rouge_l"].value == pytest.approx(sum(one.fmeasure for one in pairs), abs=1e-9)
    assert found["rouge_l_beta12"].value == pytest.approx(sum(weighted), abs=1e-9)


def test_a_command_line_names_metrics_and_their_models() -> None:
    assert asked_for(["ter", "embedding=DIR/a=b"], False) == (["ter", "embedding"], {"embedding": "DIR/a=b"})
    assert asked_for([], True) == (["wer_content", "wer_numbers", "wer_names"], {})
    with pytest.raises(InputError, match=r"--metric ter=x: this metric needs no model. Those that do are bertscore"):
        asked_for(["ter=x"], False)


def test_ter_of_chinese_counts_characters() -> None:
    found = score(["今天下雪"], ["今天下雨"], "csl-daily", metrics=["ter"])["ter"]
    assert found.value == pytest.approx(25.0)
    assert "asian:yes" in found.signature


def test_a_metric_on_request_changes_no_other_score_and_comes_last() -> None:
    plain, more = score(GOOD, REFERENCES, bootstrap=40), score(GOOD, REFERENCES, bootstrap=40, metrics=["ter", "chrf"])
    assert tuple(plain) == ALWAYS
    assert tuple(more) == (*ALWAYS, "ter")
    assert {key: more[key] for key in plain} == plain


def test_every_choice_stands_in_the_signature_of_every_metric() -> None:
    choices = TextChoices("add", lowercase=True, protocol="own|beams:3")
    found = score(GOOD, REFERENCES, "csl-daily", choices, metrics=of_text(METRICS))
    assert all(one.signature.endswith("|final-dot:add(。)|lc:yes|protocol:own|beams:3") for one in found.values())
    assert len({one.signature for one in found.values()}) == len(found) == len(METRICS) - len(NEURAL)


def test_both_rouge_l_say_which_they_are() -> None:
    assert [METRICS[key].label for key in ("rouge_l", "rouge_l_beta12")] == ["ROUGE-L F1", "ROUGE-L F1.2"]
    headings = [metric.heading for metric in METRICS.values()]
    assert headings[:9] == ["B-1", "B-2", "B-3", "B-4", "chrF", "ROUGE-L F1", "ROUGE-L F1.2", "TER", "chrF++"]
    assert headings[9:12] == ["WER content words", "WER numbers", "WER names"]
    assert headings[12:] == ["BERTScore", "Embedding cosine", "BLEURT", "COMET"]


def test_tables_show_metrics_of_every_evaluation_and_pages_those_on_request_too() -> None:
    assert {*IN_PAPER, *IN_SUMMARY, *ON_PAGE} <= set(ALWAYS)
    assert tuple(page_columns(ALWAYS)) == ON_PAGE
    assert tuple(page_columns(["ter", *ALWAYS])) == (*ON_PAGE, "ter")


def test_an_unknown_name_lists_what_there_is() -> None:
    for ask in (
        lambda: score(GOOD, REFERENCES, metrics=["bleu5"]),
        lambda: compare(GOOD, POOR, REFERENCES, metrics=["bleu5"]),
        lambda: with_requested(["bleu5"]),
    ):
        with pytest.raises(InputError, match=re.escape(f"bleu5: no such metric. Use {', '.join(METRICS)}")):
            ask()
    with pytest.raises(InputError, match=f"phoenix: no such preset. Use {', '.join(PRESETS)}"):
        score(GOOD, REFERENCES, "phoenix")
