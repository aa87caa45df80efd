"""Training from pixels as a task."""

from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import optim
from torch.optim import SGD

from slt_cache.batches.clips import clip_loader
from slt_cache.config import (
    AugmentationConfig,
    VideoConfig,
    VisualTrainingConfig,
)
from slt_cache.corpora.base import Clip
from slt_cache.models.translators import VisualTranslator, token_loss
from slt_cache.text.tokenizer import Tokenizer
from slt_cache.training.logs import read_metrics
from slt_cache.training.loop import train
from slt_cache.training.objectives.base import Setup
from slt_cache.training.objectives.model import bare, with_objectives
from slt_cache.training.state import read_state
from slt_cache.training.step import TrainStep
from slt_cache.training.sync import MicroBatches
from slt_cache.training.task import TrainerOptions
from slt_cache.training.tasks.visual import FromPixelsTask, visual_optimizer
from slt_cache.video.stream import UnreadableVideo
from tests.helpers.toy_stage_1 import TINY, task_of
from tests.helpers.toy_training import assert_same


def test_stage_1_trains_with_the_papers_optimizer(visual: VisualTranslator) -> None:
    sgd = visual_optimizer(visual, VisualTrainingConfig())
    assert isinstance(sgd, SGD)
    assert (sgd.defaults["lr"], sgd.defaults["momentum"]) == (1e-2, 0.9)
    assert sum(len(group["params"]) for group in sgd.param_groups) == len(list(visual.parameters()))
    adamw = visual_optimizer(visual, VisualTrainingConfig(optimizer="adamw", weight_decay=0.1))
    assert isinstance(adamw, optim.AdamW)
    assert adamw.defaults["weight_decay"] == 0.1


def test_stage_1_reaches_every_weight_from_pixels(
    visual: VisualTranslator, clips: list[Clip], small_video: VideoConfig, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    loader = clip_loader(
        clips, small_video, tokenizer, batch_size=2, workers=0, seed=0, augmentation=AugmentationConfig()
    )
    first = visual.encoder.backbone.get_parameter("conv1.weight").clone()
    saved: list[int] = []
    task = task_of(visual, loader, lambda: {"bleu4": 1.0}, lambda epoch, dev: saved.append(epoch))
    train(task, TrainerOptions(TINY, 0, 1, "fp32", torch.device("cpu"), tmp_path))
    silent = {name for name, tensor in visual.named_parameters() if tensor.grad is None or not tensor.grad.any()}
    assert silent <= {"encoder.temporal.conv.bias"}  # batch normalization takes a constant out again
    assert not torch.equal(visual.encoder.backbone.get_parameter("conv1.weight"), first)
    assert saved == [1]


def test_the_usual_objective_is_the_plain_step_to_the_bit(
    visual: VisualTranslator, clips: list[Clip], small_video: VideoConfig, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    loader = clip_loader(
        clips, small_video, tokenizer, batch_size=2, workers=0, seed=0, augmentation=AugmentationConfig()
    )
    plain, settings = deepcopy(visual).train(), VisualTrainingConfig()
    task = task_of(visual, loader, dict, lambda epoch, dev: None)
    batch = next(iter(task.batches(1)))
    step = TrainStep(task, TrainerOptions(settings, 0, 1, "fp32", torch.device("cpu"), tmp_path))
    step.model.train()
    torch.manual_seed(5)
    result = step(MicroBatches([batch], batch.targets.tokens, save=False), {})
    torch.manual_seed(5)
    loss = token_loss(plain(batch.frames, batch.lengths, batch.targets.decoder_input_ids), batch.targets.labels, 0.2)
    (loss / batch.targets.tokens).backward()
    SGD(plain.parameters(), TINY.lr, momentum=0.9).step()
    assert (result.loss, result.terms) == ((loss / batch.targets.tokens).item(), {})
    assert_same(visual.state_dict(), plain.state_dict())


def test_stage_1_trains_with_further_terms_whose_weights_learn_and_are_not_the_models(
    visual: VisualTranslator, clips: list[Clip], small_video: VideoConfig, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    loader = clip_loader(
        clips, small_video, tokenizer, batch_size=3, workers=0, seed=0, augmentation=AugmentationConfig()
    )
    names = ("cross-entropy", "cico", "contrastive", "denoising", "signcl")
    trained = with_objectives(visual, names, {}, Setup(visual.translator.kind.width, tokenizer, keep_every=4))
    before = {name: weight.clone() for name, weight in trained.state_dict().items()}
    optimizer = partial(visual_optimizer, trained, TINY)
    task = FromPixelsTask("stage 1", trained, loader, optimizer, dict, lambda epoch, dev: None)
    train(task, TrainerOptions(TINY, 0, 1, "fp32", torch.device("cpu"), tmp_path))
    moved = {name for name, weight in trained.named_parameters() if not torch.equal(weight, before[name])}
    assert {name for name in before if name.startswith("objectives.")} <= moved
    assert {"model.encoder.backbone.conv1.weight", "model.translator.adapter.mlp.0.weight"} <= moved
    (epoch,) = read_metrics(tmp_path / "last" / "metrics.jsonl")
    assert all(epoch[f"loss/{name}"] > 0 for name in names[1:])
    saved = read_state(tmp_path / "last" / "state.pt")["model"]
    assert_same(saved, trained.state_dict())
    assert bare(trained) is visual


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
