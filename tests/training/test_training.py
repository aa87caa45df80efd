"""The training loop on a toy task, the tasks of both stages, and the encoder after training: frozen."""

import json
import math
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_model
from torch import nn, optim
from torch.optim import SGD, Optimizer

from slt_cache.batches.clips import clip_loader
from slt_cache.batches.features import feature_loader
from slt_cache.batches.targets import Targets
from slt_cache.checkpoints.record import Record, save_record
from slt_cache.checkpoints.visual import load_visual, new_visual_translator, save_visual
from slt_cache.config import (
    AugmentationConfig,
    EncoderConfig,
    LightTConfig,
    OptimizerConfig,
    VideoConfig,
    VisualTrainingConfig,
)
from slt_cache.corpora.base import Clip
from slt_cache.encoders.visual_encoder import VisualEncoder
from slt_cache.errors import InputError, SltCacheError
from slt_cache.features.cache import FeatureCache
from slt_cache.features.parts import ClipFeatures, add_splits, content_of
from slt_cache.metrics.registry import METRICS
from slt_cache.models.translators import IGNORED, SignTranslator, VisualTranslator, token_loss
from slt_cache.text.tokenizer import Tokenizer
from slt_cache.training import sync, trackers
from slt_cache.training.diagnostics import last_layers, norms
from slt_cache.training.logs import MetricsLog, read_metrics
from slt_cache.training.loop import train
from slt_cache.training.optimizers import AdamW
from slt_cache.training.progress_bar import duration
from slt_cache.training.state import STATE_FILE, TrainerState
from slt_cache.training.task import TrainerOptions
from slt_cache.training.tasks.llm import FromCacheTask
from slt_cache.training.tasks.visual import FromPixelsTask, visual_optimizer
from slt_cache.training.trackers import require_tracker
from slt_cache.video.stream import UnreadableVideo
from tests.helpers.caches import facts_of, spec_of

STEPS, BATCH, LENGTH, WORDS = 12, 3, 4, 7
"""Of the toy task: updates an epoch, clips a batch, tokens a sentence, size of the vocabulary."""


@dataclass(frozen=True)
class ToyBatch:
    ids: tuple[str, ...]
    features: torch.Tensor
    targets: Targets

    @property
    def size(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device) -> "ToyBatch":
        return ToyBatch(self.ids, self.features.to(device), self.targets.to(device))


def toy_batch(number: int) -> ToyBatch:
    generator = torch.Generator().manual_seed(number)
    labels = torch.randint(0, WORDS, (BATCH, LENGTH), generator=generator)
    labels[0, 1 + number % 3 :] = IGNORED  # batches hold different numbers of tokens
    features = torch.randn(BATCH, LENGTH, 5, generator=generator)
    return ToyBatch(tuple(f"clip {number}.{row}" for row in range(BATCH)), features, Targets(labels, labels))


class Killed(BaseException):
    """As a kill: nothing catches it."""


class ToyTask:
    """A linear model with dropout, so that the state of the random numbers matters."""

    name = "toy"
    unit = "clips"
    batches_an_epoch = STEPS

    def __init__(
        self,
        bleu4: list[float] | None = None,
        kill: tuple[int, int] | None = None,
        lr: float = 0.1,
        dropout: float = 0.3,
        broken: int | None = None,
        on_batch: Callable[[], None] = lambda: None,
    ):
        """`bleu4` of each epoch; `kill` at (epoch, batch); `broken` is the batch with a value that is not finite."""
        self.model: Any = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(5, 8), nn.BatchNorm1d(LENGTH), nn.Linear(8, WORDS)
        )
        self.bleu4 = bleu4
        self.kill = kill
        self.lr = lr
        self.broken = broken
        self.on_batch = on_batch
        self.epoch = 0
        self.rates: list[tuple[float, ...]] = []
        self.modes: list[bool] = []
        self.saved: dict[int, dict[str, torch.Tensor]] = {}
        self.evaluated: list[int] = []

    def optimizer(self) -> Optimizer:
        first, last = self.model[:3].parameters(), self.model[3].parameters()
        self.inner = AdamW([{"params": first, "lr": self.lr}, {"params": last, "lr": self.lr / 10}])
        return self.inner

    def batches(self, epoch: int, first: int = 0) -> Iterator[ToyBatch]:
        self.epoch = epoch
        torch.rand(5)  # as a loader draws when it begins
        for step, number in enumerate(np.random.default_rng(epoch).permutation(STEPS).tolist()[first:], first):
            if self.kill == (epoch, step):
                raise Killed
            batch = toy_batch(number)
            if number == self.broken:
                batch.features[1, 2] = math.nan
            yield batch

    def logits(self, model: nn.Module, batch: ToyBatch) -> torch.Tensor:
        self.rates.append(tuple(group["lr"] for group in self.inner.param_groups))
        self.modes.append(model.training)
        self.on_batch()
        return model(batch.features)

    def last_layers(self) -> dict[str, nn.Module]:
        return {"first": self.model[1], "last": self.model[3]}

    def evaluate(self) -> dict[str, float]:
        self.evaluated.append(self.epoch)
        torch.rand(3)  # an evaluation may use random numbers without changing the training
        if self.bleu4 is None:
            return {}
        return {"bleu4": self.bleu4[self.epoch - 1], "rouge_l": 1.0}

    def epoch_ended(self, epoch: int) -> None:
        pass

    def save_best(self, epoch: int, dev: dict[str, float]) -> None:
        assert not self.model.training
        self.saved[epoch] = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}


def engine_of(folder: Path, evaluate_every: int = 1, **settings: Any) -> TrainerOptions:
    options = OptimizerConfig(**({"epochs": 4, "batch_size": BATCH, "lr": 0.1} | settings))
    return TrainerOptions(options, 3, evaluate_every, "fp32", torch.device("cpu"), folder)


def without_seconds(folder: Path) -> list[dict[str, Any]]:
    return [{**line, "seconds": None} for line in read_metrics(folder / "last" / "metrics.jsonl")]


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


# --- the loop


@pytest.mark.parametrize("kill", [(1, 5), (2, 0), (3, 11), (4, 6)])
def test_an_interrupted_training_ends_with_the_weights_of_an_uninterrupted_one(
    tmp_path: Path, kill: tuple[int, int]
) -> None:
    bleu4 = [1.0, 5.0, 3.0, 4.0]
    whole = ToyTask(bleu4)
    settings: dict[str, Any] = {"warmup_steps": 7, "clip_norm": 0.5, "weight_decay": 0.1}
    expected = train(whole, engine_of(tmp_path / "whole", **settings))
    torch.manual_seed(0)
    killed = ToyTask(bleu4, kill=kill)
    with pytest.raises(Killed):
        train(killed, engine_of(tmp_path / "killed", **settings))
    torch.manual_seed(0 if kill[0] == 1 else 99)  # before the first state nothing but the seed gives the weights
    resumed = ToyTask(bleu4)
    progress = train(resumed, engine_of(tmp_path / "killed", **settings))
    assert_same(resumed.model.state_dict(), whole.model.state_dict())
    assert_same((killed.saved | resumed.saved)[2], whole.saved[2])
    assert replace(progress, seconds=0.0) == replace(expected, seconds=0.0)
    assert killed.rates[: (kill[0] - 1) * STEPS] + resumed.rates == whole.rates
    assert without_seconds(tmp_path / "killed") == without_seconds(tmp_path / "whole")


@pytest.mark.parametrize("accumulate", [1, 5])
@pytest.mark.parametrize("kill", [(1, 0), (1, 6), (2, 1), (3, 11), (4, 10)])
def test_a_training_killed_in_the_middle_of_an_epoch_goes_on_there(
    tmp_path: Path, kill: tuple[int, int], accumulate: int
) -> None:
    bleu4 = [1.0, 5.0, 3.0, 4.0]
    settings: dict[str, Any] = {"warmup_steps": 7, "accumulate": accumulate}
    whole = ToyTask(bleu4)
    expected = train(whole, engine_of(tmp_path / "whole", **settings))
    torch.manual_seed(0)
    killed, engine = ToyTask(bleu4, kill=kill), engine_of(tmp_path / "killed", **settings)
    with pytest.raises(Killed):
        train(killed, replace(engine, save_seconds=0.0))
    torch.manual_seed(0 if kill == (1, 0) else 99)
    resumed = ToyTask(bleu4)
    progress = train(resumed, engine)
    assert_same(resumed.model.state_dict(), whole.model.state_dict())
    assert replace(progress, seconds=0.0) == replace(expected, seconds=0.0)
    batches = (kill[0] - 1) * STEPS + min(kill[1] // accumulate * accumulate, STEPS)
    assert resumed.rates == whole.rates[batches:]  # what was saved is not done twice
    assert without_seconds(tmp_path / "killed") == without_seconds(tmp_path / "whole")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("where", ["reading", "updating", "evaluating", "saving the best"])
def test_ctrl_c_and_sigterm_save_what_is_done_wherever_they_come(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], number: int, where: str
) -> None:
    class Stopped(ToyTask):
        def stop(self, here: str) -> None:
            if here == where and self.epoch == 2:
                os.kill(os.getpid(), number)
                os.kill(os.getpid(), number)  # impatient

        def batches(self, epoch: int, first: int = 0) -> Iterator[ToyBatch]:
            for step, batch in enumerate(super().batches(epoch, first)):
                if step == 7:
                    self.stop("reading")
                yield batch

        def logits(self, model: nn.Module, batch: ToyBatch) -> torch.Tensor:
            if len(self.rates) == STEPS + 6:
                self.stop("updating")
            return super().logits(model, batch)

        def evaluate(self) -> dict[str, float]:
            self.stop("evaluating")
            return super().evaluate()

        def save_best(self, epoch: int, dev: dict[str, float]) -> None:
            self.stop("saving the best")
            super().save_best(epoch, dev)

    bleu4 = [1.0, 5.0, 3.0, 4.0]
    whole = ToyTask(bleu4)
    expected = train(whole, engine_of(tmp_path / "whole"))
    torch.manual_seed(0)
    stopped, resumed = Stopped(bleu4), ToyTask(bleu4)
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(KeyboardInterrupt):
        train(stopped, engine_of(tmp_path / "stopped"))
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before
    done = 7 if where in ("reading", "updating") else 12
    assert f"toy: interrupted in epoch 2, after {done} of 12 batches; saved in {tmp_path}" in capsys.readouterr().err
    assert replace(train(resumed, engine_of(tmp_path / "stopped")), seconds=0.0) == replace(expected, seconds=0.0)
    assert_same(resumed.model.state_dict(), whole.model.state_dict())
    assert_same((stopped.saved | resumed.saved)[2], whole.saved[2])
    assert stopped.rates + resumed.rates == whole.rates
    assert without_seconds(tmp_path / "stopped") == without_seconds(tmp_path / "whole")


def test_a_kill_behind_the_saving_of_the_best_weights_leaves_them_the_best(tmp_path: Path) -> None:
    class DyingThen(ToyTask):
        def save_best(self, epoch: int, dev: dict[str, float]) -> None:
            super().save_best(epoch, dev)
            if epoch == 2:
                raise Killed

    bleu4 = [1.0, 5.0, 3.0, 4.0]
    whole = ToyTask(bleu4)
    expected = train(whole, engine_of(tmp_path / "whole"))
    torch.manual_seed(0)
    with pytest.raises(Killed):
        train(DyingThen(bleu4), engine_of(tmp_path / "killed"))
    resumed = ToyTask(bleu4)
    progress = train(resumed, engine_of(tmp_path / "killed"))
    assert (progress.best_epoch, progress.dev) == (expected.best_epoch, expected.dev)
    assert_same(resumed.saved[2], whole.saved[2])


def test_a_state_of_the_version_before_is_gone_on_with(tmp_path: Path) -> None:
    whole = ToyTask([1.0] * 4)
    train(whole, engine_of(tmp_path / "whole"))
    torch.manual_seed(0)
    with pytest.raises(Killed):
        train(ToyTask([1.0] * 4, kill=(3, 0)), engine_of(tmp_path / "old"))
    path = tmp_path / "old" / "last" / STATE_FILE
    state = torch.load(path, weights_only=True)
    for new in ("batch", "loss", "tokens"):
        del state["progress"][new]
    for group in state["optimizer"]["param_groups"]:
        group["fused"] = None
    torch.save({key: state[key] for key in ("model", "optimizer", "progress")}, path)
    resumed = ToyTask([1.0] * 4)
    train(resumed, engine_of(tmp_path / "old"))
    assert_same(resumed.model.state_dict(), whole.model.state_dict())
    assert all(group["fused"] for group in resumed.inner.param_groups)


def test_training_that_is_done_does_nothing_more(tmp_path: Path) -> None:
    first = ToyTask([1.0] * 4)
    train(first, engine_of(tmp_path))
    again = ToyTask([1.0] * 4)
    assert train(again, engine_of(tmp_path)).step == 4 * STEPS
    assert again.rates == []
    assert_same(again.model.state_dict(), first.model.state_dict())


def test_the_seed_decides_the_training(tmp_path: Path) -> None:
    ends = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        torch.manual_seed(0)
        task = ToyTask([1.0] * 4)
        train(task, replace(engine_of(tmp_path / name), seed=seed))
        ends.append(task.model[1].weight)
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])


def test_the_best_weights_are_those_of_the_highest_dev_bleu4(tmp_path: Path) -> None:
    task = ToyTask([2.0, 7.0, 7.0, 6.0])
    progress = train(task, engine_of(tmp_path))
    assert list(task.saved) == [1, 2]
    assert (progress.best_epoch, progress.dev["bleu4"], progress.epoch) == (2, 7.0, 4)
    assert not torch.equal(task.saved[2]["1.weight"], task.model[1].weight)


class TerTask(ToyTask):
    """The scores of each epoch are TER, and BLEU-4 is highest in the first."""

    def evaluate(self) -> dict[str, float]:
        scores = super().evaluate()
        return {"bleu4": 10.0 - self.epoch, "ter": scores["bleu4"]}


def test_another_metric_selects_the_best_weights_in_its_own_direction(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = TerTask([90.0, 60.0, 60.0, 70.0, 80.0])
    progress = train(task, engine_of(tmp_path, epochs=5, patience=2, select_by="ter"))
    assert list(task.saved) == [1, 2]
    assert (progress.best_epoch, progress.dev["ter"], progress.epoch) == (2, 60.0, 4)
    said = capsys.readouterr().err
    assert "toy epoch 2: " in said and ", dev TER 60.0, " in said and "BLEU" not in said
    assert "no better dev TER than 60.00 (epoch 2) in 2 evaluations (patience 2" in said


def test_a_first_dev_score_of_0_is_kept_too(tmp_path: Path) -> None:
    task = ToyTask([0.0] * 4)
    assert train(task, engine_of(tmp_path)).best_epoch == 1
    assert list(task.saved) == [1]


def test_without_dev_the_last_weights_are_kept(tmp_path: Path) -> None:
    task = ToyTask(None)
    progress = train(task, engine_of(tmp_path, patience=1))
    assert progress.best_epoch == 4
    assert_same(task.saved[4], task.model.state_dict())


@pytest.mark.parametrize(("patience", "epochs"), [(1, 3), (2, 4), (3, 5), (None, 8)])
def test_patience_counts_evaluations_without_a_better_score(tmp_path: Path, patience: int | None, epochs: int) -> None:
    task = ToyTask([1.0, 5.0, 4.0, 5.0, 3.0, 2.0, 1.0, 0.0])
    assert train(task, engine_of(tmp_path, epochs=8, patience=patience)).epoch == epochs


def test_patience_counts_evaluations_and_not_epochs(tmp_path: Path) -> None:
    task = ToyTask([9.0, 5.0, 9.0, 4.0, 9.0, 3.0, 9.0, 2.0])
    progress = train(task, engine_of(tmp_path, evaluate_every=2, epochs=8, patience=2))
    assert (task.evaluated, progress.epoch) == ([2, 4, 6], 6)


def test_a_training_that_ran_out_of_patience_says_so_and_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(ToyTask([1.0, 5.0, 4.0, 3.0, 2.0]), engine_of(tmp_path / "early", epochs=5, patience=2))
    said = capsys.readouterr().err
    assert "toy: stops after epoch 4 of 5: no better dev BLEU-4 than 5.00 (epoch 2) in 2 evaluations" in said
    train(ToyTask([1.0, 5.0, 4.0, 3.0]), engine_of(tmp_path / "whole", epochs=4, patience=2))
    assert "stops after" not in capsys.readouterr().err


def test_a_resumed_training_says_if_it_has_other_threads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Killed):
        train(ToyTask([1.0] * 4, kill=(3, 0)), engine_of(tmp_path))
    torch.set_num_threads(2)
    try:
        train(ToyTask([1.0] * 4), engine_of(tmp_path))
    finally:
        torch.set_num_threads(1)
    said = capsys.readouterr().err
    assert "threads: 2 instead of 1" in said
    assert "OMP_NUM_THREADS=1" in said


def test_a_resumed_training_scores_its_best_weights_on_a_changed_dev(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scores on two splits must not be compared: 4 on the new one is better than 5 was on the old one."""
    old = replace(engine_of(tmp_path), dev_sha256="old")
    with pytest.raises(Killed):
        train(ToyTask([1.0, 5.0, 0.0, 0.0], kill=(3, 0)), old)
    new = replace(old, dev_sha256="new", score_best=lambda: {"bleu4": 3.0, "rouge_l": 1.0})
    resumed = ToyTask([0.0, 0.0, 4.0, 3.5])
    progress = train(resumed, new)
    assert (progress.best_epoch, progress.dev["bleu4"], list(resumed.saved)) == (3, 4.0, [3])
    said = capsys.readouterr().err
    assert "dev has changed since epoch 2 was the best so far: BLEU-4 5.00 then, 3.00 now" in said


def test_a_resumed_training_without_dev_keeps_the_last_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Killed):
        train(ToyTask([1.0, 5.0], kill=(3, 0)), replace(engine_of(tmp_path), dev_sha256="old"))
    resumed = ToyTask(None)
    assert train(resumed, engine_of(tmp_path)).best_epoch == 4
    assert_same(resumed.saved[4], resumed.model.state_dict())
    assert "there is no dev split any more" in capsys.readouterr().err


def test_ctrl_c_before_the_first_update_leaves_no_state(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Stopped(ToyTask):
        def batches(self, epoch: int, first: int = 0) -> Iterator[ToyBatch]:
            os.kill(os.getpid(), signal.SIGINT)
            yield from super().batches(epoch, first)

    with pytest.raises(KeyboardInterrupt):
        train(Stopped([1.0] * 4), engine_of(tmp_path))
    assert "there is nothing to save" in capsys.readouterr().err
    assert not (tmp_path / "last" / STATE_FILE).exists()


def test_the_last_epoch_is_evaluated_even_where_it_is_not_due(tmp_path: Path) -> None:
    task = ToyTask([1.0, 2.0, 3.0, 4.0])
    train(task, engine_of(tmp_path, evaluate_every=3))
    assert task.evaluated == [3, 4]


def test_the_learning_rate_rises_and_falls_as_a_cosine(tmp_path: Path) -> None:
    task = ToyTask([1.0, 2.0])
    train(task, engine_of(tmp_path, epochs=2, warmup_steps=4))
    factors = [rate / 0.1 for rate, _ in task.rates]
    assert factors[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert factors[4] == pytest.approx(1.0)
    assert factors[4:] == pytest.approx([0.5 * (1 + math.cos(math.pi * step / 20)) for step in range(20)])
    assert [last / first for first, last in task.rates] == pytest.approx([0.1] * 24)


def test_without_warm_up_training_begins_at_the_peak(tmp_path: Path) -> None:
    task = ToyTask([1.0])
    train(task, engine_of(tmp_path, epochs=1))
    assert task.rates[0] == pytest.approx((0.1, 0.01))
    assert task.rates[6] == pytest.approx((0.05, 0.005))


def test_updates_see_the_model_in_training_mode_after_evaluations_too(tmp_path: Path) -> None:
    task = ToyTask([1.0] * 4)
    train(task, engine_of(tmp_path))
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
    train(task, engine_of(tmp_path, epochs=1, label_smoothing=0.2))
    [line] = [line for line in read_metrics(tmp_path / "last" / "metrics.jsonl") if line["kind"] == "epoch"]
    assert line["loss"] == pytest.approx(total / tokens, rel=1e-5)
    assert len({toy_batch(number).targets.tokens for number in range(STEPS)}) > 1


def test_gradients_are_clipped_to_the_norm(tmp_path: Path) -> None:
    norms = []

    class Recorded(ToyTask):
        def optimizer(self) -> Optimizer:
            optimizer = super().optimizer()
            optimizer.register_step_pre_hook(
                lambda *_: norms.append(
                    float(sum(p.grad.norm() ** 2 for p in self.model.parameters() if p.grad is not None)) ** 0.5
                )
            )
            return optimizer

    train(Recorded([1.0]), engine_of(tmp_path, epochs=1, clip_norm=0.01))
    assert norms == pytest.approx([0.01] * STEPS, rel=1e-3)


def test_a_loss_that_is_not_finite_ends_training_and_names_the_clips(tmp_path: Path) -> None:
    task = ToyTask([1.0] * 4, broken=5)
    task.model[2] = nn.Identity()
    before = {name: tensor.clone() for name, tensor in task.model.state_dict().items()}
    with pytest.raises(SltCacheError, match=r"nan.*clip 5\.0, clip 5\.1, clip 5\.2") as failed:
        train(task, engine_of(tmp_path))
    assert failed.value.exit_code == 1
    assert all(torch.isfinite(tensor).all() for tensor in task.model.state_dict().values())
    assert not torch.equal(before["1.weight"], task.model.state_dict()["1.weight"])


def test_seconds_of_an_earlier_run_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(sync, "time", SimpleNamespace(monotonic=lambda: now))

    def tick() -> None:
        nonlocal now
        now += 1.0

    killed = ToyTask([1.0] * 4, kill=(2, 3), on_batch=tick)
    with pytest.raises(Killed):
        train(killed, engine_of(tmp_path))
    now += 500.0  # between the two runs
    resumed = ToyTask([1.0] * 4, on_batch=tick)
    assert train(resumed, engine_of(tmp_path)).seconds == 4 * STEPS


# --- accumulation


def clip_by_clip(batch: ToyBatch) -> list[ToyBatch]:
    rows = zip(batch.ids, batch.features.split(1), batch.targets.labels.split(1), strict=True)
    return [ToyBatch((clip,), features, Targets(labels, labels)) for clip, features, labels in rows]


class PlainTask(ToyTask):
    """Without what looks at a whole batch, or draws for it: batch normalization and dropout."""

    split = False

    def __init__(self) -> None:
        super().__init__([1.0] * 4)
        self.model = nn.Sequential(nn.Tanh(), nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, WORDS))

    @property
    def batches_an_epoch(self) -> int:  # type: ignore[override]
        return STEPS * BATCH if self.split else STEPS

    def batches(self, epoch: int, first: int = 0) -> Iterator[ToyBatch]:
        for batch in super().batches(epoch, first):
            yield from clip_by_clip(batch) if self.split else [batch]


class SplitTask(PlainTask):
    split = True


def test_accumulated_batches_are_one_large_batch(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"label_smoothing": 0.1, "clip_norm": 0.5, "warmup_steps": 5}
    large = PlainTask()
    expected = train(large, engine_of(tmp_path / "large", **settings))
    torch.manual_seed(0)  # the same first weights
    small = SplitTask()
    progress = train(small, engine_of(tmp_path / "small", accumulate=BATCH, **settings))
    assert (progress.step, progress.epoch) == (expected.step, expected.epoch) == (4 * STEPS, 4)
    for (name, one), other in zip(large.model.state_dict().items(), small.model.state_dict().values(), strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-6), name
    losses = [
        [line["loss"] for line in read_metrics(tmp_path / name / "last" / "metrics.jsonl")]
        for name in ("large", "small")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert [rate for rate, _ in small.rates[::BATCH]] == [rate for rate, _ in large.rates]


def test_the_last_group_of_an_epoch_may_be_short(tmp_path: Path) -> None:
    task = ToyTask([1.0] * 4)
    progress = train(task, engine_of(tmp_path, accumulate=5, warmup_steps=2))
    assert (progress.step, len(task.rates)) == (4 * 3, 4 * STEPS)  # 5 + 5 + 2 batches
    assert [rate for rate, _ in task.rates[:12:5]] == pytest.approx([0.1 / 3, 0.2 / 3, 0.1])
    assert task.rates[-1][0] == pytest.approx(0.1 * 0.5 * (1 + math.cos(math.pi * 9 / 10)))


# --- what is watched


def test_norms_of_the_last_layers_are_logged_before_clipping(tmp_path: Path) -> None:
    class Recorded(ToyTask):
        weights: list[float]

        def optimizer(self) -> Optimizer:
            optimizer = super().optimizer()
            self.weights = []
            optimizer.register_step_pre_hook(
                lambda *_: self.weights.append(
                    float(sum(p.detach().pow(2).sum() for p in self.model[3].parameters()) ** 0.5)
                )
            )
            return optimizer

    norms = []
    for clip_norm in (None, 1e-6):
        torch.manual_seed(0)
        task = Recorded([1.0])
        train(task, engine_of(tmp_path / str(clip_norm), epochs=1, clip_norm=clip_norm, lr=1e-9))
        [line] = [
            line
            for line in read_metrics(tmp_path / str(clip_norm) / "last" / "metrics.jsonl")
            if line["kind"] == "step"
        ]
        assert line["param_norm/last"] == pytest.approx(task.weights[9], rel=1e-5)
        norms.append(line["grad_norm/last"])
    assert norms[1] > 1e-3
    quiet = replace(engine_of(tmp_path / "quiet", epochs=1), diagnostics=False)
    train(ToyTask([1.0]), quiet)
    assert not [key for line in read_metrics(quiet.folder / "last" / "metrics.jsonl") for key in line if "norm" in key]


def test_last_layers_are_found_in_both_stages(visual: VisualTranslator) -> None:
    layers = last_layers(visual, "translator")
    assert list(layers) == ["encoder", "adapter", "translator"]
    assert layers["encoder"] is visual.encoder.temporal
    assert layers["translator"] is visual.translator.seq2seq.get_decoder().layers[-1]
    assert list(last_layers(visual.translator, "llm")) == ["adapter", "llm"]


def test_norms_of_scaled_gradients_are_those_of_the_gradients() -> None:
    layer = nn.Linear(3, 2)
    layer(torch.ones(1, 3)).sum().backward()
    plain = norms({"layer": layer})
    assert plain["grad_norm/layer"] == pytest.approx(8**0.5)
    for weight in layer.parameters():
        assert weight.grad is not None
        weight.grad *= 1024
    assert norms({"layer": layer}, 1024.0) == pytest.approx(plain)
    frozen = nn.Linear(3, 2).requires_grad_(False)
    assert norms({"frozen": frozen}) == {}


def test_a_tracker_that_is_not_installed_is_named_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    require_tracker("none")
    with pytest.raises(InputError, match="Run: pip install wandb"):
        require_tracker("wandb")


def test_tensorboard_gets_the_figures_of_the_metrics_log_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    engine = replace(engine_of(tmp_path), tracker="tensorboard")
    with pytest.raises(Killed):
        train(ToyTask([1.0, 2.0, 3.0, 4.0], kill=(2, 11)), engine)
    train(ToyTask([1.0, 2.0, 3.0, 4.0]), engine)
    events = EventAccumulator(str(tmp_path / "last" / "tensorboard"))
    events.Reload()
    lines = read_metrics(tmp_path / "last" / "metrics.jsonl")
    steps = {line["step"]: line for line in lines if line["kind"] == "step"}
    for name, key in (("train/loss", "loss"), ("grad_norm/last", "grad_norm/last")):
        points = {point.step: point.value for point in events.Scalars(name)}
        assert points == pytest.approx({step: line[key] for step, line in steps.items()}, rel=1e-5)
        assert len(events.Scalars(name)) == len(steps)
    assert [point.value for point in events.Scalars("dev/bleu4")] == [1.0, 2.0, 3.0, 4.0]


def test_weights_and_biases_gets_the_figures_too_and_an_unfinished_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    engine = replace(engine_of(tmp_path, epochs=2), tracker="wandb")
    with pytest.raises(Killed):
        train(ToyTask([1.0, 2.0], kill=(2, 11)), engine)
    run_id = (tmp_path / "last" / "wandb-id.txt").read_text()
    train(ToyTask([1.0, 2.0]), engine)
    assert [path.suffixes for path in (tmp_path / "wandb").rglob(f"run-{run_id}.wandb")] == [[".wandb"]] * 2


def test_durations_are_told_in_hours() -> None:
    assert [duration(seconds) for seconds in (0.4, 61, 3600, 90061)] == ["0:00:00", "0:01:01", "1:00:00", "25:01:01"]


# --- the metrics log


def test_the_log_has_a_line_every_ten_updates_and_every_epoch(tmp_path: Path) -> None:
    train(ToyTask([1.0, 2.0]), engine_of(tmp_path, epochs=2))
    lines = read_metrics(tmp_path / "last" / "metrics.jsonl")
    assert [(line["kind"], line["epoch"], line["step"]) for line in lines] == [
        ("step", 1, 10),
        ("epoch", 1, 12),
        ("step", 2, 20),
        ("epoch", 2, 24),
    ]
    assert lines[3]["dev"] == {"bleu4": 2.0, "rouge_l": 1.0}
    assert all(math.isfinite(line["loss"]) for line in lines)


def test_lines_of_a_killed_epoch_are_dropped_on_resume(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(ToyTask([1.0] * 4, kill=(2, 11)), engine_of(tmp_path))
    before = read_metrics(tmp_path / "last" / "metrics.jsonl")
    assert (before[-1]["kind"], before[-1]["epoch"]) == ("step", 2)
    log = MetricsLog(tmp_path / "last" / "metrics.jsonl", METRICS["bleu4"], TrainerState(epoch=1, step=STEPS))
    assert read_metrics(tmp_path / "last" / "metrics.jsonl") == before[:-1]
    log.step(TrainerState(epoch=1, step=20), 0.5, 0.1, {})
    assert read_metrics(tmp_path / "last" / "metrics.jsonl")[-1]["loss"] == 0.5


def test_a_line_that_a_kill_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps({"kind": "epoch", "epoch": 1}) + '\n{"kind": "st')
    MetricsLog(path, METRICS["bleu4"], TrainerState(epoch=1, step=STEPS)).step(
        TrainerState(epoch=1, step=20), 0.5, 0.1, {}
    )
    assert [line["epoch"] for line in read_metrics(path)] == [1, 2]


def test_progress_without_scores_is_always_better() -> None:
    bleu4 = METRICS["bleu4"]
    assert TrainerState().better({}, bleu4)
    assert TrainerState().better({"bleu4": 0.0}, bleu4)
    assert not TrainerState(dev={"bleu4": 3.0}).better({"bleu4": 3.0}, bleu4)
    assert TrainerState(dev={"bleu4": 3.0}).better({"bleu4": 3.1}, bleu4)


# --- the tasks of both stages

TINY = VisualTrainingConfig(batch_size=2, epochs=1, lr=1e-2)


@pytest.fixture
def visual(tokenizer: Tokenizer, small_video: VideoConfig, small_mbart: Any) -> VisualTranslator:
    encoder = VisualEncoder("resnet18", 32, 5, small_video.mean, small_video.std)
    return VisualTranslator(encoder, SignTranslator(32, small_mbart, tokenizer.start))


def task_of(
    visual: VisualTranslator,
    loader: Any,
    evaluate: Callable[[], dict[str, float]],
    save: Callable[[int, dict[str, float]], None],
) -> FromPixelsTask:
    return FromPixelsTask("stage 1", visual, loader, partial(visual_optimizer, visual, TINY), evaluate, save)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> list[Clip]:
    folder = tmp_path_factory.mktemp("clips")
    return [
        Clip(f"clip {n}", "train", make_video(folder / f"{n}.mp4", 9 + 8 * n, n), None, None, text)
        for n, text in enumerate(["heute regnet es", "fällt schnee im norden", "es ist trocken"])
    ]


def test_stage_1_trains_with_the_papers_optimizer(visual: VisualTranslator) -> None:
    sgd = visual_optimizer(visual, VisualTrainingConfig())
    assert isinstance(sgd, SGD)
    assert (sgd.defaults["lr"], sgd.defaults["momentum"]) == (1e-2, 0.9)
    assert sum(len(group["params"]) for group in sgd.param_groups) == len(list(visual.parameters()))
    adamw = visual_optimizer(visual, VisualTrainingConfig(optimizer="adamw", weight_decay=0.1))
    assert isinstance(adamw, optim.AdamW)
    assert adamw.defaults["weight_decay"] == 0.1


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_first_update_that_overflows_in_fp16_leaves_no_trace(
    visual: VisualTranslator, name: Literal["sgd", "adamw"]
) -> None:
    """The loss scaler begins high, and the first updates are passed over until it has come down."""
    weight = visual.translator.adapter.mlp[0].weight

    def update(optimizer: Optimizer, scaler: torch.amp.GradScaler, gradient: float) -> None:
        weight.grad = torch.full_like(weight, gradient) * scaler.get_scale()
        scaler.step(optimizer)
        scaler.update()

    def ends_with(gradients: tuple[float, ...]) -> torch.Tensor:
        with torch.no_grad():
            weight.copy_(torch.ones_like(weight))
        optimizer, scaler = visual_optimizer(visual, VisualTrainingConfig(optimizer=name)), torch.amp.GradScaler("cpu")
        scaler.scale(torch.zeros(()))
        for gradient in gradients:
            update(optimizer, scaler, gradient)
        return weight.detach().clone()

    assert torch.equal(ends_with((math.inf,)), torch.ones_like(weight))
    assert torch.equal(ends_with((math.inf, 0.5, 0.25)), ends_with((0.5, 0.25)))


def test_stage_1_reaches_every_weight_from_pixels(
    visual: VisualTranslator, clips: list[Clip], small_video: VideoConfig, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    loader = clip_loader(
        clips, small_video, tokenizer, batch_size=2, workers=0, seed=0, augmentation=AugmentationConfig()
    )
    first = visual.encoder.backbone.conv1.weight.clone()
    saved: list[int] = []
    task = task_of(visual, loader, lambda: {"bleu4": 1.0}, lambda epoch, dev: saved.append(epoch))
    train(task, TrainerOptions(TINY, 0, 1, "fp32", torch.device("cpu"), tmp_path))
    silent = {name for name, tensor in visual.named_parameters() if tensor.grad is None or not tensor.grad.any()}
    assert silent <= {"encoder.temporal.conv.bias"}  # batch normalization takes a constant out again
    assert not torch.equal(visual.encoder.backbone.conv1.weight, first)
    assert saved == [1]


def test_stage_1_does_not_go_on_without_an_unreadable_clip(
    visual: VisualTranslator, clips: list[Clip], small_video: VideoConfig, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    mixed = [*clips, replace(clips[0], id="gone", video=tmp_path / "gone.mp4")]
    loader = clip_loader(
        mixed, small_video, tokenizer, batch_size=2, workers=0, seed=0, augmentation=AugmentationConfig()
    )
    task = task_of(visual, loader, dict, lambda epoch, dev: None)
    with pytest.raises(UnreadableVideo, match="'gone'"):
        train(task, TrainerOptions(TINY, 0, 1, "fp32", torch.device("cpu"), tmp_path))


def test_stage_2_has_one_rate_for_the_adapter_and_one_for_the_rest(
    small_mbart: Any, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    sentences = ["heute regnet es", "fällt schnee im norden", "es ist trocken", "es weht ein wind"]
    random = np.random.default_rng(0)
    rows = [
        ClipFeatures(f"clip {n}", text, 4 * n + 4, 25.0, random.normal(size=(n + 1, 32)).astype(np.float32))
        for n, text in enumerate(sentences)
    ]
    add_splits(tmp_path / "feats.h5", [content_of(facts_of("train", spec_of("float32", dim=32)), rows)])
    loader = feature_loader(FeatureCache(tmp_path / "feats.h5", "train"), tokenizer, batch_size=2, shuffle=True)
    model = SignTranslator(32, small_mbart, tokenizer.start)
    task = FromCacheTask(
        "stage 2",
        model,
        loader,
        lr=5e-3,
        adapter_lr=1e-2,
        weight_decay=0.0,
        evaluate=dict,
        save_best=lambda epoch, dev: None,
    )
    groups = task.optimizer().param_groups
    assert [(group["lr"], len(group["params"])) for group in groups] == [
        (5e-3, len(list(small_mbart.parameters()))),
        (1e-2, 4),
    ]
    settings = OptimizerConfig(epochs=40, batch_size=2, lr=5e-3, label_smoothing=0.0)
    train(task, TrainerOptions(settings, 0, 10, "fp32", torch.device("cpu"), tmp_path))
    losses = [line["loss"] for line in read_metrics(tmp_path / "last" / "metrics.jsonl") if line["kind"] == "epoch"]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_may_begin_at_a_later_batch_and_reads_no_other(
    visual: VisualTranslator, clips: list[Clip], small_video: VideoConfig, tokenizer: Tokenizer, workers: int
) -> None:
    twice = [*clips, *(replace(clip, id=f"{clip.id} again") for clip in clips)]
    options: dict[str, Any] = {"batch_size": 2, "seed": 0, "augmentation": AugmentationConfig(), "workers": workers}
    task = task_of(visual, clip_loader(twice, small_video, tokenizer, **options), dict, lambda epoch, dev: None)
    whole = list(task.batches(3))
    rest = list(task.batches(3, 1))
    assert [batch.ids for batch in rest] == [batch.ids for batch in whole[1:]]
    assert all(torch.equal(one.frames, other.frames) for one, other in zip(rest, whole[1:], strict=True))
    assert [batch.ids for batch in task.batches(3)] == [batch.ids for batch in whole]
    gone = [replace(clip, video=Path("gone.mp4")) if clip.id in whole[0].ids else clip for clip in twice]
    task = task_of(visual, clip_loader(gone, small_video, tokenizer, **options), dict, lambda epoch, dev: None)
    assert [batch.ids for batch in task.batches(3, 1)] == [batch.ids for batch in rest]


@pytest.mark.parametrize("workers", [0, 2])
def test_reading_clips_draws_none_of_the_trainings_random_numbers(
    visual: VisualTranslator, clips: list[Clip], small_video: VideoConfig, tokenizer: Tokenizer, workers: int
) -> None:
    options: dict[str, Any] = {"batch_size": 2, "seed": 0, "augmentation": AugmentationConfig(), "workers": workers}
    task = task_of(visual, clip_loader(clips, small_video, tokenizer, **options), dict, lambda epoch, dev: None)
    for epoch in (2, 3):
        before = torch.get_rng_state()
        list(task.batches(epoch))
        assert torch.equal(torch.get_rng_state(), before)


def test_equal_weights_are_equal_bytes_and_files_of_older_versions_are_read(
    tokenizer: Tokenizer, small_video: VideoConfig, tmp_path: Path
) -> None:
    encoder, light_t = EncoderConfig(weights="none", dim=32), LightTConfig(size="tiny")
    model = new_visual_translator(encoder, small_video, light_t, tokenizer)
    settings = {
        "encoder": encoder.model_dump(mode="json"),
        "video": small_video.recorded(),
        "light_t": light_t.model_dump(mode="json"),
        "tokenizer": {"language": tokenizer.language},
    }
    best = tmp_path / "visual" / "best"
    save_visual(best, model, tokenizer, Record("stage 1", settings, finished=True))
    with safe_open(best / "light_t.safetensors", "pt") as file:
        names = list(file.keys())
        assert not file.metadata()
    aliases = [
        name for name in model.translator.state_dict() if name.endswith(("embed_tokens.weight", "lm_head.weight"))
    ]
    assert [name for name in names if name in aliases] == [min(aliases)]
    assert_same(load_visual(best).model.state_dict(), model.state_dict())
    save_model(model.translator, str(best / "light_t.safetensors"))
    save_record(best, Record("stage 1", settings, finished=True))
    assert_same(load_visual(best).model.state_dict(), model.state_dict())


def test_the_smallest_light_t_and_encoder_make_stage_1(tokenizer: Tokenizer, small_video: VideoConfig) -> None:
    model = new_visual_translator(
        EncoderConfig(weights="none", dim=32), small_video, LightTConfig(size="tiny", dropout=0.25), tokenizer
    )
    assert model.encoder.dim == 32
    assert model.translator.seq2seq.config.vocab_size == len(tokenizer)
    assert model.translator.seq2seq.config.dropout == 0.25
    assert model.translator.start == tokenizer.start
