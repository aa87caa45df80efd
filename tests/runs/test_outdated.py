"""What was made from an encoder or an LLM that has been trained again since."""

from pathlib import Path
from typing import Any

import pytest

from slt_cache.checkpoints.record import Record, save_record
from slt_cache.config import load_config
from slt_cache.runs.outdated import log_outdated_by_pretraining
from slt_cache.runs.run import Run


def finish(run: Run, model: str, settings: dict[str, Any]) -> None:
    save_record(run.folder / model / "best", Record(model, settings).finish(1, 1.0))


def test_models_that_start_from_a_replaced_llm_are_named_with_the_command_that_renews_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(tmp_path, load_config("avatar"))
    finish(run, "llm/pretrained", {"seed": 2})
    finish(run, "llm", {"pretraining": {"seed": 1}})
    finish(run, "joint-temporal", {"pretraining": {"seed": 1}})
    finish(run, "joint", {"pretraining": {"seed": 2}})
    log_outdated_by_pretraining(run)
    said = capsys.readouterr().err
    assert "pre-trained again: llm, joint-temporal." in said
    assert "train-llm --features feats.h5 --restart" in said
    assert "train-joint --set llm_training.unfreeze=temporal --restart" in said
