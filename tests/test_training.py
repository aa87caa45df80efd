"""The training loop on a toy task, the tasks of both stages, and the encoder after training: frozen."""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from slt_cache.batches.clip_batches import clip_loader
from slt_cache.batches.feature_batches import feature_loader
from slt_cache.batches.targets import Targets
from slt_cache.config import (
    AugmentationConfig,
    EncoderConfig,
    LightTConfig,
    OptimizerConfig,
    VideoConfig,
    VisualTrainingConfig,
)
from slt_cache.corpora.clips import Clip
from slt_cache.errors import SltCacheError
from slt_cache.features.cache import FeatureCache
from slt_cache.features.parts import ClipFeatures, add_splits, content_of
from slt_cache.models.sign_translator import IGNORED, SignTranslator, VisualTranslator, token_loss
from slt_cache.models.visual_encoder import VisualEncoder
from slt_cache.text.tokenizer import Tokenizer
from slt_cache.training import loop
from slt_cache.training.from_cache import FromCacheTask
from slt_cache.training.from_pixels import FromPixelsTask, visual_optimizer
from slt_cache.training.loop import Engine, Progress, train
from slt_cache.training.metrics_log import MetricsLog, read_metrics
from slt_cache.video.frames import UnreadableVideo
from tests.caches import facts_of, spec_of

STEPS, BATCH, LENGTH, WORDS = 12, 3, 4, 7
"""Of the toy task: updates an epoch, clips a batch, tokens a sentence, size of the vocabulary."""


@dataclass(frozen=True)
class ToyBatch:
    ids: tuple[str, ...]
    features: torch.Tensor
    targets: Targets

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
    steps_an_epoch = STEPS

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

    def batches(self, epoch: int) -> Iterator[ToyBatch]:
        self.epoch = epoch
        for step, number in enumerate(np.random.default_rng(epoch).permutation(STEPS).tolist()):
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

    def evaluate(self) -> dict[str, float]:
        self.evaluated.append(self.epoch)
        torch.rand(3)  # an evaluation may use random numbers without changing the training
        if self.bleu4 is None:
            return {}
        return {"bleu4": self.bleu4[self.epoch - 1], "rouge_l": 1.0}

    def save_best(self, epoch: int, dev: dict[str, float]) -> None:
        assert not self.model.training
        self.saved[epoch] = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}


def engine_of(folder: Path, max_seconds: float | None = None, evaluate_every: int = 1, **settings: Any) -> Engine:
    options = OptimizerConfig(**({"epochs": 4, "batch_size": BATCH, "lr": 0.1} | settings))
    return Engine(options, 3, evaluate_every, "fp32", torch.device("cpu"), folder, max_seconds)


def without_seconds(folder: Path) -> list[dict[str, Any]]:
    return [{**line, "seconds": None} for line in read_metrics(folder / "metrics.jsonl")]


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
    [line] = [line for line in read_metrics(tmp_path / "metrics.jsonl") if line["kind"] == "epoch"]
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


class Clock:
    """Seconds that pass only when a batch is looked at."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.now = 1000.0
        monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: self.now))

    def tick(self) -> None:
        self.now += 1.0


@pytest.mark.parametrize("seconds", [1.0, 5.0, 12.0, 30.0])
@pytest.mark.parametrize("evaluate_every", [1, 5])
def test_max_seconds_ends_training_evaluated_and_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, evaluate_every: int
) -> None:
    task = ToyTask([float(epoch) for epoch in range(1, 50)], on_batch=Clock(monkeypatch).tick)
    progress = train(task, engine_of(tmp_path, seconds, evaluate_every, epochs=1))
    assert progress.step == seconds
    assert task.evaluated[-1] == progress.epoch == progress.best_epoch
    assert_same(task.saved[progress.epoch], task.model.state_dict())


def test_with_max_seconds_the_learning_rate_falls_with_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = ToyTask([1.0] * 50, on_batch=Clock(monkeypatch).tick)
    train(task, engine_of(tmp_path, 20.0, epochs=1))
    expected = [0.5 * (1 + math.cos(math.pi * second / 20)) for second in range(20)]
    assert [rate / 0.1 for rate, _ in task.rates] == pytest.approx(expected)


def test_seconds_of_an_earlier_run_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    killed = ToyTask([1.0] * 50, kill=(2, 3), on_batch=clock.tick)
    with pytest.raises(Killed):
        train(killed, engine_of(tmp_path, 20.0, epochs=1))
    clock.now += 500.0  # between the two runs
    resumed = ToyTask([1.0] * 50, on_batch=clock.tick)
    assert train(resumed, engine_of(tmp_path, 20.0, epochs=1)).step == 20


# --- the metrics log


def test_the_log_has_a_line_every_ten_updates_and_every_epoch(tmp_path: Path) -> None:
    train(ToyTask([1.0, 2.0]), engine_of(tmp_path, epochs=2))
    lines = read_metrics(tmp_path / "metrics.jsonl")
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
    before = read_metrics(tmp_path / "metrics.jsonl")
    assert (before[-1]["kind"], before[-1]["epoch"]) == ("step", 2)
    log = MetricsLog(tmp_path / "metrics.jsonl", 1)
    assert read_metrics(tmp_path / "metrics.jsonl") == before[:-1]
    log.step(2, 20, 0.5, 0.1)
    assert read_metrics(tmp_path / "metrics.jsonl")[-1]["loss"] == 0.5


def test_a_line_that_a_kill_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps({"kind": "epoch", "epoch": 1}) + '\n{"kind": "st')
    MetricsLog(path, 1).step(2, 20, 0.5, 0.1)
    assert [line["epoch"] for line in read_metrics(path)] == [1, 2]


def test_progress_without_scores_is_always_better() -> None:
    assert Progress().better({})
    assert Progress().better({"bleu4": 0.0})
    assert not Progress(dev={"bleu4": 3.0}).better({"bleu4": 3.0})
    assert Progress(dev={"bleu4": 3.0}).better({"bleu4": 3.1})


# --- the tasks of both stages

TINY = VisualTrainingConfig(batch_size=2, epochs=1, lr=1e-2)


@pytest.fixture
def visual(tokenizer: Tokenizer, small_video: VideoConfig, small_mbart: Any) -> VisualTranslator:
    encoder = VisualEncoder(32, 5, small_video.mean, small_video.std)
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
    assert isinstance(adamw, AdamW)
    assert adamw.defaults["weight_decay"] == 0.1


def test_stage_1_reaches_every_weight_from_pixels(
    visual: VisualTranslator, clips: list[Clip], small_video: VideoConfig, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    loader = clip_loader(
        clips, small_video, tokenizer, batch_size=2, workers=0, seed=0, augmentation=AugmentationConfig()
    )
    first = visual.encoder.backbone.conv1.weight.clone()
    saved: list[int] = []
    task = task_of(visual, loader, lambda: {"bleu4": 1.0}, lambda epoch, dev: saved.append(epoch))
    train(task, Engine(TINY, 0, 1, "fp32", torch.device("cpu"), tmp_path))
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
        train(task, Engine(TINY, 0, 1, "fp32", torch.device("cpu"), tmp_path))


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
    train(task, Engine(settings, 0, 10, "fp32", torch.device("cpu"), tmp_path))
    losses = [line["loss"] for line in read_metrics(tmp_path / "metrics.jsonl") if line["kind"] == "epoch"]
    assert losses[-1] < 0.5 * losses[0]


def test_the_smallest_light_t_and_encoder_make_stage_1(tokenizer: Tokenizer, small_video: VideoConfig) -> None:
    from slt_cache.checkpoints.visual import new_visual_translator

    model = new_visual_translator(
        EncoderConfig(weights="none", dim=32), small_video, LightTConfig(size="tiny", dropout=0.25), tokenizer
    )
    assert model.encoder.dim == 32
    assert model.translator.seq2seq.config.vocab_size == len(tokenizer)
    assert model.translator.seq2seq.config.dropout == 0.25
    assert model.translator.start == tokenizer.start
