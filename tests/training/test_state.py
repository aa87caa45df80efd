"""The saved state of a training."""

from pathlib import Path

import pytest
import torch

from slt_cache.metrics.registry import METRICS
from slt_cache.training.loop import train
from slt_cache.training.state import STATE_FILE, TrainerState
from tests.helpers.toy_training import Killed, ToyTask, assert_same, options_of


def test_a_state_of_the_version_before_is_gone_on_with(tmp_path: Path) -> None:
    whole = ToyTask([1.0] * 4)
    train(whole, options_of(tmp_path / "whole"))
    torch.manual_seed(0)
    with pytest.raises(Killed):
        train(ToyTask([1.0] * 4, kill=(3, 0)), options_of(tmp_path / "old"))
    path = tmp_path / "old" / "last" / STATE_FILE
    state = torch.load(path, weights_only=True)
    for new in ("batch", "loss", "tokens"):
        del state["progress"][new]
    for group in state["optimizer"]["param_groups"]:
        group["fused"] = None
    torch.save({key: state[key] for key in ("model", "optimizer", "progress")}, path)
    resumed = ToyTask([1.0] * 4)
    train(resumed, options_of(tmp_path / "old"))
    assert_same(resumed.model.state_dict(), whole.model.state_dict())
    assert all(group["fused"] for group in resumed.inner.param_groups)


def test_progress_without_scores_is_always_better() -> None:
    bleu4 = METRICS["bleu4"]
    assert TrainerState().better({}, bleu4)
    assert TrainerState().better({"bleu4": 0.0}, bleu4)
    assert not TrainerState(dev={"bleu4": 3.0}).better({"bleu4": 3.0}, bleu4)
    assert TrainerState(dev={"bleu4": 3.0}).better({"bleu4": 3.1}, bleu4)
