"""Evaluations of a run side by side: columns and best scores."""

from dataclasses import replace
from pathlib import Path

from slt_cache.metrics.normalization import RAW
from slt_cache.metrics.registry import ON_PAGE
from slt_cache.runs.evaluations import Evaluation, best_scores, columns_of, signatures_of

SCORES = dict.fromkeys(ON_PAGE, 40.0)
LLM = Evaluation(Path("eval/test.json"), "llm", "test", 100, {**SCORES, "ter": 50.0}, {}, False, False, "plain", RAW)
VISUAL = replace(LLM, model="visual", scores={**dict.fromkeys(ON_PAGE, 30.0), "ter": 70.0})


def test_the_best_score_is_the_lowest_where_lower_is_better() -> None:
    assert best_scores([VISUAL, LLM]) == {"test": {**SCORES, "ter": 50.0}}
    assert best_scores([LLM]) == {}


def test_a_metric_that_one_model_alone_has_is_a_column_and_has_no_best() -> None:
    without = replace(VISUAL, scores={key: VISUAL.scores[key] for key in ON_PAGE})
    assert list(columns_of([without, LLM]).values())[-2:] == ["ROUGE-L F1", "TER"]
    assert best_scores([without, LLM]) == {"test": SCORES}
    assert signatures_of([without, LLM])[-1]["rows"] == ["both stages (LLM from the cache), test"]
