"""Gemma 3 270M through the commands: both stages on the drawn corpus, scores and a translation. `make test-real`."""

import json
import re
from pathlib import Path

import pytest

from slt_cache.checkpoints.record import read_record
from slt_cache.reading import read_json
from slt_cache.training.logs import read_metrics
from tests.helpers.tiny_run import succeed, train_tiny

pytestmark = pytest.mark.real

SETTINGS = (
    "llm.prompt=Deutsche Gebärdensprache: {video} Auf Deutsch:",
    "llm.lora.r=4",
    "visual_training.epochs=1",
    "llm_training.epochs=3",
    "llm_training.evaluate_every=3",
    "llm_training.batch_size=8",
    "llm_training.lr=5e-4",
    "generation.num_beams=2",
    "generation.max_new_tokens=12",
)


def test_the_commands_train_score_and_translate_with_it(gemma_folder: Path, tmp_path: Path) -> None:
    run = train_tiny(tmp_path / "run", f"llm.name={gemma_folder}", *SETTINGS)
    losses = [line["loss"] for line in read_metrics(run / "llm" / "metrics.jsonl") if line["kind"] == "epoch"]
    assert len(losses) == 3 and losses[0] > losses[2]
    succeed("eval", "--split", "dev", "--run", run)
    assert read_json(run / "eval" / "dev.json")["clips"] > 0
    videos = sorted((run / "corpus" / "videos").iterdir())[:2]
    translated = json.loads(succeed("translate", *videos, "--run", run, "--json").out)
    assert not translated["failed"]
    assert [Path(one["video"]).name for one in translated["translations"]] == [video.name for video in videos]
    assert all(re.search(r"\w{2}", one["text"]) for one in translated["translations"])
    record = read_record(run / "llm" / "best")
    assert record is not None and 0 < record.parameters["trained"] < 3_000_000
    assert 100_000_000 < record.parameters["all"] < 105_000_000  # of 268 million, without most word embeddings
