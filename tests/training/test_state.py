"""The saved state of a training."""

from pathlib import Path
from typing import Any

import pytest
import torch

from slt_cache.errors import InputError
from slt_cache.metrics.registry import METRICS
from slt_cache.training.loop import train
from slt_cache.training.state import STATE_FILE, TrainerState
from tests.helpers.toy_training import WORDS, Killed, ToyTask, assert_same, options_of


def test_a_state_of_the_version_before_is_gone_on_with(tmp_path: Path) -> None:
    whole = ToyTask([1.0] * 4)
    train(whole, options_of(tmp_path / "whole"))
    torch.manual_seed(0)
    with pytest.raises(Killed):
        train(ToyTask([1.0] * 4, kill=(3, 0)), options_of(tmp_path / "old"))
    path = tmp_path / "old" / "last" / STATE_FILE
    state = torch.load(path, weights_only=True)
    for new in ("batch", "loss", "tokens", "memory_bytes"):
        del state["progress"][new]
    for group in state["optimizer"]["param_groups"]:
        group["fused"] = None
    torch.save({key: state[key] for key in ("model", "optimizer", "progress")}, path)
    resumed = ToyTask([1.0] * 4)
    train(resumed, options_of(tmp_path / "old"))
    assert_same(resumed.model.state_dict(), whole.model.state_dict())
    assert all(group["fused"] for group in resumed.inner.param_groups)


def frozen_task(**options: Any) -> ToyTask:
    """A task whose first layer is frozen, with the same weights each time."""
    torch.manual_seed(0)
    task = ToyTask([1.0] * 4, **options)
    task.model[1].requires_grad_(False)
    return task


def test_frozen_weights_are_in_no_state_and_a_resumed_training_ends_the_same(tmp_path: Path) -> None:
    whole = frozen_task()
    train(whole, options_of(tmp_path / "whole"))
    with pytest.raises(Killed):
        train(frozen_task(kill=(3, 0)), options_of(tmp_path / "killed"))
    state = torch.load(tmp_path / "killed" / "last" / STATE_FILE, weights_only=True)
    assert not [name for name in state["model"] if name.startswith("1.")]
    assert {"2.running_mean", "3.weight"} <= state["model"].keys()
    resumed = frozen_task()
    train(resumed, options_of(tmp_path / "killed"))
    assert_same(resumed.model.state_dict(), whole.model.state_dict())


def test_other_frozen_weights_are_refused_and_a_state_that_holds_them_is_read(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(frozen_task(kill=(3, 0)), options_of(tmp_path))
    path = tmp_path / "last" / STATE_FILE
    other = frozen_task()
    other.model[1].weight.data[0, 0] += 1e-6
    with pytest.raises(InputError, match=r"state\.pt: the training began with other frozen weights \(SHA-256 \w{12}"):
        train(other, options_of(tmp_path))

    state = torch.load(path, weights_only=True)
    expected = frozen_task().model[1].state_dict()
    del state["model"]["3.bias"]
    torch.save(state, path)
    with pytest.raises(InputError, match=r"damaged or truncated .*3\.bias is missing"):
        train(frozen_task(), options_of(tmp_path))

    state["model"] |= {"3.bias": torch.zeros(WORDS), "1.weight": expected["weight"], "1.bias": expected["bias"]}
    del state["frozen_sha256"]
    torch.save(state, path)
    before = frozen_task()
    before.model[1].weight.data.zero_()  # an earlier version takes them from the state
    train(before, options_of(tmp_path))
    assert_same(before.model[1].state_dict(), expected)


def test_a_training_without_frozen_weights_has_the_state_of_before(tmp_path: Path) -> None:
    train(ToyTask([1.0] * 4), options_of(tmp_path))
    assert "frozen_sha256" not in torch.load(tmp_path / "last" / STATE_FILE, weights_only=True)


def test_progress_without_scores_is_always_better() -> None:
    bleu4 = METRICS["bleu4"]
    assert TrainerState().better({}, bleu4)
    assert TrainerState().better({"bleu4": 0.0}, bleu4)
    assert not TrainerState(dev={"bleu4": 3.0}).better({"bleu4": 3.0}, bleu4)
    assert TrainerState(dev={"bleu4": 3.0}).better({"bleu4": 3.1}, bleu4)
