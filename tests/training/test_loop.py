"""The training loop on a toy task: what ends it, what it keeps, and how it is resumed."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from slt_cache.models.translators import token_loss
from slt_cache.training import loop
from slt_cache.training.logs import read_metrics
from slt_cache.training.loop import train
from tests.helpers.toy_training import STEPS, Killed, ToyTask, assert_same, options_of, toy_batch, without_seconds


@pytest.mark.parametrize("kill", [(1, 5), (2, 0), (3, 11), (4, 6)])
def test_an_interrupted_training_ends_with_the_weights_of_an_uninterrupted_one(
    tmp_path: Path, kill: tuple[int, int]
) -> None:
    bleu4 = [1.0, 5.0, 3.0, 4.0]
    whole = ToyTask(bleu4)
    settings: dict[str, Any] = {"warmup_steps": 7, "clip_norm": 0.5, "weight_decay": 0.1}
    expected = train(whole, options_of(tmp_path / "whole", **settings))
    torch.manual_seed(0)
    killed = ToyTask(bleu4, kill=kill)
    with pytest.raises(Killed):
        train(killed, options_of(tmp_path / "killed", **settings))
    torch.manual_seed(0 if kill[0] == 1 else 99)  # before the first state nothing but the seed gives the weights
    resumed = ToyTask(bleu4)
    progress = train(resumed, options_of(tmp_path / "killed", **settings))
    assert_same(resumed.model.state_dict(), whole.model.state_dict())
    assert_same((killed.saved | resumed.saved)[2], whole.saved[2])
    assert replace(progress, seconds=0.0, memory_bytes=0) == replace(expected, seconds=0.0, memory_bytes=0)
    assert killed.lrs[: (kill[0] - 1) * STEPS] + resumed.lrs == whole.lrs
    assert without_seconds(tmp_path / "killed") == without_seconds(tmp_path / "whole")


@pytest.mark.parametrize("accumulate", [1, 5])
@pytest.mark.parametrize("kill", [(1, 0), (1, 6), (2, 1), (3, 11), (4, 10)])
def test_a_training_killed_in_the_middle_of_an_epoch_goes_on_there(
    tmp_path: Path, kill: tuple[int, int], accumulate: int
) -> None:
    bleu4 = [1.0, 5.0, 3.0, 4.0]
    settings: dict[str, Any] = {"warmup_steps": 7, "accumulate": accumulate}
    whole = ToyTask(bleu4)
    expected = train(whole, options_of(tmp_path / "whole", **settings))
    torch.manual_seed(0)
    killed, options = ToyTask(bleu4, kill=kill), options_of(tmp_path / "killed", **settings)
    with pytest.raises(Killed):
        train(killed, replace(options, save_seconds=0.0))
    torch.manual_seed(0 if kill == (1, 0) else 99)
    resumed = ToyTask(bleu4)
    progress = train(resumed, options)
    assert_same(resumed.model.state_dict(), whole.model.state_dict())
    assert replace(progress, seconds=0.0, memory_bytes=0) == replace(expected, seconds=0.0, memory_bytes=0)
    batches = (kill[0] - 1) * STEPS + min(kill[1] // accumulate * accumulate, STEPS)
    assert resumed.lrs == whole.lrs[batches:]  # what was saved is not done twice
    assert without_seconds(tmp_path / "killed") == without_seconds(tmp_path / "whole")


def test_a_kill_behind_the_saving_of_the_best_weights_leaves_them_the_best(tmp_path: Path) -> None:
    class DyingThen(ToyTask):
        def save_best(self, epoch: int, dev: dict[str, float]) -> None:
            super().save_best(epoch, dev)
            if epoch == 2:
                raise Killed

    bleu4 = [1.0, 5.0, 3.0, 4.0]
    whole = ToyTask(bleu4)
    expected = train(whole, options_of(tmp_path / "whole"))
    torch.manual_seed(0)
    with pytest.raises(Killed):
        train(DyingThen(bleu4), options_of(tmp_path / "killed"))
    resumed = ToyTask(bleu4)
    progress = train(resumed, options_of(tmp_path / "killed"))
    assert (progress.best_epoch, progress.dev) == (expected.best_epoch, expected.dev)
    assert_same(resumed.saved[2], whole.saved[2])


def test_training_that_is_done_does_nothing_more(tmp_path: Path) -> None:
    first = ToyTask([1.0] * 4)
    train(first, options_of(tmp_path))
    again = ToyTask([1.0] * 4)
    assert train(again, options_of(tmp_path)).step == 4 * STEPS
    assert again.lrs == []
    assert_same(again.model.state_dict(), first.model.state_dict())


def test_the_peak_memory_is_that_of_all_runs_of_a_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = options_of(tmp_path)
    monkeypatch.setattr(loop, "peak_memory", lambda device: 5 if device == options.device else 0)
    with pytest.raises(Killed):
        train(ToyTask([1.0] * 4, kill=(3, 0)), options)
    monkeypatch.setattr(loop, "peak_memory", lambda _: 3)
    assert train(ToyTask([1.0] * 4), options).memory_bytes == 5


def test_the_seed_decides_the_training(tmp_path: Path) -> None:
    ends = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        torch.manual_seed(0)
        task = ToyTask([1.0] * 4)
        train(task, replace(options_of(tmp_path / name), seed=seed))
        ends.append(task.model[1].weight)
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])


def test_the_best_weights_are_those_of_the_highest_dev_bleu4(tmp_path: Path) -> None:
    task = ToyTask([2.0, 7.0, 7.0, 6.0])
    progress = train(task, options_of(tmp_path))
    assert list(task.saved) == [1, 2]
    assert (progress.best_epoch, progress.dev["bleu4"], progress.epoch) == (2, 7.0, 4)
    assert not torch.equal(task.saved[2]["1.weight"], task.model[1].weight)


def test_a_first_dev_score_of_0_is_kept_too(tmp_path: Path) -> None:
    task = ToyTask([0.0] * 4)
    assert train(task, options_of(tmp_path)).best_epoch == 1
    assert list(task.saved) == [1]


def test_without_dev_the_last_weights_are_kept(tmp_path: Path) -> None:
    task = ToyTask(None)
    progress = train(task, options_of(tmp_path, patience=1))
    assert progress.best_epoch == 4
    assert_same(task.saved[4], task.model.state_dict())


def test_a_training_that_ran_out_of_patience_says_so_and_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(ToyTask([1.0, 5.0, 4.0, 3.0, 2.0]), options_of(tmp_path / "early", epochs=5, patience=2))
    said = capsys.readouterr().err
    assert "toy: stops early after epoch 4 of 5: no better dev BLEU-4 than 5.00 (epoch 2) in 2 evaluations" in said
    train(ToyTask([1.0, 5.0, 4.0, 3.0]), options_of(tmp_path / "whole", epochs=4, patience=2))
    assert "stops early after" not in capsys.readouterr().err


def test_a_resumed_training_says_if_it_has_other_threads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Killed):
        train(ToyTask([1.0] * 4, kill=(3, 0)), options_of(tmp_path))
    torch.set_num_threads(2)
    try:
        train(ToyTask([1.0] * 4), options_of(tmp_path))
    finally:
        torch.set_num_threads(1)
    said = capsys.readouterr().err
    assert "threads: 2 instead of 1" in said
    assert "OMP_NUM_THREADS=1" in said


def test_a_resumed_training_scores_its_best_weights_on_a_changed_dev(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scores on two splits must not be compared: 4 on the new one is better than 5 was on the old one."""
    old = replace(options_of(tmp_path), dev_sha256="old")
    with pytest.raises(Killed):
        train(ToyTask([1.0, 5.0, 0.0, 0.0], kill=(3, 0)), old)
    new = replace(old, dev_sha256="new", score_best=lambda: {"bleu4": 3.0, "rouge_l": 1.0})
    resumed = ToyTask([0.0, 0.0, 4.0, 3.5])
    progress = train(resumed, new)
    assert (progress.best_epoch, progress.dev["bleu4"], list(resumed.saved)) == (3, 4.0, [3])
    said = capsys.readouterr().err
    assert "dev has changed since epoch 2 became the best: BLEU-4 5.00 then, 3.00 now" in said


def test_a_resumed_training_without_dev_keeps_the_last_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Killed):
        train(ToyTask([1.0, 5.0], kill=(3, 0)), replace(options_of(tmp_path), dev_sha256="old"))
    resumed = ToyTask(None)
    assert train(resumed, options_of(tmp_path)).best_epoch == 4
    assert_same(resumed.saved[4], resumed.model.state_dict())
    assert "the dev split is gone" in capsys.readouterr().err


def test_the_last_epoch_is_evaluated_even_where_it_is_not_due(tmp_path: Path) -> None:
    task = ToyTask([1.0, 2.0, 3.0, 4.0])
    train(task, options_of(tmp_path, evaluate_every=3))
    assert task.evaluated == [3, 4]


def test_updates_see_the_model_in_training_mode_after_evaluations_too(tmp_path: Path) -> None:
    task = ToyTask([1.0] * 4)
    train(task, options_of(tmp_path))
    assert task.modes == [True] * 4 * STEPS


def test_the_loss_of_an_epoch_is_the_mean_over_its_tokens(tmp_path: Path) -> None:
    task = ToyTask([1.0], lr=1e-30, dropout=0.0)
    task.model[2] = nn.Identity()
    total, tokens = 0.0, 0
    with torch.no_grad():
        for number in range(STEPS):
            batch = toy_batch(number)
            total += float(token_loss(task.model(batch.features), batch.targets.labels, 0.2))
            tokens += batch.targets.tokens
    train(task, options_of(tmp_path, epochs=1, label_smoothing=0.2))
    [line] = [line for line in read_metrics(tmp_path / "last" / "metrics.jsonl") if line["kind"] == "epoch"]
    assert line["loss"] == pytest.approx(total / tokens, rel=1e-5)
    assert len({toy_batch(number).targets.tokens for number in range(STEPS)}) > 1


class TerTask(ToyTask):
    """The scores of each epoch are TER, and BLEU-4 is highest in the first."""

    def evaluate(self) -> dict[str, float]:
        scores = super().evaluate()
        return {"bleu4": 10.0 - self.epoch, "ter": scores["bleu4"]}


def test_another_metric_selects_the_best_weights_in_its_own_direction(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = TerTask([90.0, 60.0, 60.0, 70.0, 80.0])
    progress = train(task, options_of(tmp_path, epochs=5, patience=2, select_by="ter"))
    assert list(task.saved) == [1, 2]
    assert (progress.best_epoch, progress.dev["ter"], progress.epoch) == (2, 60.0, 4)
    said = capsys.readouterr().err
    assert "toy epoch 2: " in said and ", dev TER 60.0, " in said and "BLEU" not in said
    assert "no better dev TER than 60.00 (epoch 2) in 2 evaluations (patience 2" in said


def finished_and_continued(folder: Path, kill: tuple[int, int] | None = None) -> ToyTask:
    """Trains two epochs, and from their state four; `kill` stops the longer training once."""
    bleu4 = [1.0, 5.0, 3.0, 6.0]
    torch.manual_seed(0)
    short, long = options_of(folder, epochs=2, warmup_steps=7), options_of(folder, warmup_steps=7)
    train(ToyTask(bleu4), short)
    if kill is not None:
        with pytest.raises(Killed):
            train(ToyTask(bleu4, kill=kill), replace(long, before=short.settings, save_seconds=0.0))
    continued = ToyTask(bleu4)
    train(continued, long if kill else replace(long, before=short.settings))
    return continued


def test_a_longer_training_from_the_last_state_has_the_learning_rates_of_one_that_was_long_from_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = ToyTask([1.0, 5.0, 3.0, 6.0])
    train(whole, options_of(tmp_path / "whole", warmup_steps=7))
    continued = finished_and_continued(tmp_path / "continued")
    assert continued.lrs == whole.lrs[2 * STEPS :]
    assert continued.evaluated == [3, 4]
    said = next(line for line in capsys.readouterr().err.splitlines() if "instead of 2" in line)
    factor = [lr / 0.1 for lr, _ in whole.lrs]
    assert f"is {0.1 * factor[2 * STEPS]:.2g} ({factor[2 * STEPS]:.1%}) in the next" in said
    old_end = 0.5 * (1 + math.cos(math.pi * (2 * STEPS - 1 - 7) / (2 * STEPS - 7)))
    assert f"it was {0.1 * old_end:.2g} ({old_end:.1%} of its peak) in the last update" in said


def test_a_longer_training_says_how_its_label_smoothing_changes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short, long = (
        options_of(tmp_path, epochs=epochs, label_smoothing=0.2, label_smoothing_end=0.0) for epochs in (2, 4)
    )
    train(ToyTask([1.0, 5.0]), short)
    train(ToyTask([1.0, 5.0, 3.0, 6.0]), replace(long, before=short.settings))
    was = 0.2 * (1 - (2 * STEPS - 1) / (2 * STEPS - 1))
    now = 0.2 * (1 - 2 * STEPS / (4 * STEPS - 1))
    assert f"label smoothing follows the line over 4 epochs: it was {was:.3g} in the last update, and is {now:.3g}" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("kill", [(3, 0), (3, 5), (4, 11)])
def test_a_continued_training_that_was_killed_ends_with_the_same_weights(tmp_path: Path, kill: tuple[int, int]) -> None:
    whole = finished_and_continued(tmp_path / "whole")
    resumed = finished_and_continued(tmp_path / "killed", kill)
    assert_same(resumed.model.state_dict(), whole.model.state_dict())
    assert without_seconds(tmp_path / "killed") == without_seconds(tmp_path / "whole")


def test_who_watches_the_evaluations_may_end_a_training_that_can_be_resumed(tmp_path: Path) -> None:
    bleu4, seen = [1.0, 5.0, 3.0, 4.0], []

    class Enough(Exception):
        pass

    def watch(epoch: int, scores: Mapping[str, float]) -> None:
        seen.append((epoch, scores["bleu4"]))
        if epoch == 2:
            raise Enough

    whole = ToyTask(bleu4)
    train(whole, options_of(tmp_path / "whole"))
    torch.manual_seed(0)
    with pytest.raises(Enough):
        train(ToyTask(bleu4), replace(options_of(tmp_path / "ended"), evaluated=watch))
    assert seen == [(1, 1.0), (2, 5.0)]
    resumed = ToyTask(bleu4)
    assert train(resumed, options_of(tmp_path / "ended")).epoch == 4
    assert_same(resumed.model.state_dict(), whole.model.state_dict())
