"""Files of an evaluation: what they say of earlier ones that they replace."""

import json
from pathlib import Path
from typing import Any

from slt_cache.checkpoints.record import Record, write_record
from slt_cache.config import load_config
from slt_cache.decoding.search import Hypothesis
from slt_cache.metrics.scores import score
from slt_cache.reading import read_json
from slt_cache.runs.eval_files import Translated, record_of
from slt_cache.runs.run import Run

TEXTS = ["heute regnet es", "morgen scheint die sonne"]


def evaluate(folder: Path, weights: str, split: str = "test") -> dict[str, Any]:
    """Saves an evaluation of weights with this hash; returns what was saved."""
    run = Run(folder, load_config("avatar"))
    record = Record("stage 2", {}, best_epoch=2, files={"adapter.safetensors": weights}).finish(3, 10.0)
    write_record(record_of(run, "llm").parent, record)
    hypotheses = [Hypothesis(f"clip-{place}", (text,), (0.0,)) for place, text in enumerate(TEXTS)]
    done = Translated(run, "llm", split, hypotheses, TEXTS)
    table = done.save(score(TEXTS, TEXTS), {}, read_json(record_of(run, "llm")), "eval")
    found: dict[str, Any] = json.loads(table.with_suffix(".json").read_text(encoding="utf-8"))
    return found


def test_scores_on_test_name_the_weights_that_were_scored_on_it_before(tmp_path: Path) -> None:
    first = evaluate(tmp_path, "a" * 64)
    assert "scored_before" not in first
    assert "scored_before" not in evaluate(tmp_path, "a" * 64)  # the same weights again
    [one] = evaluate(tmp_path, "b" * 64)["scored_before"]
    assert one.keys() == {"finished_at", "best_epoch"} and one["finished_at"]
    assert len(evaluate(tmp_path, "c" * 64)["scored_before"]) == 2
    assert len(evaluate(tmp_path, "c" * 64)["scored_before"]) == 2
    (tmp_path / "eval" / "test.json").write_text("{")
    assert "scored_before" not in evaluate(tmp_path, "d" * 64)  # damaged scores are replaced


def test_dev_may_be_scored_as_often_as_one_likes(tmp_path: Path) -> None:
    for weights in "abc":
        assert "scored_before" not in evaluate(tmp_path, weights * 64, "dev")
