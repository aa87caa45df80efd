"""Check: an interrupted training ends with the weights of an uninterrupted one."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch

from slt_cache.batches.clips import ClipBatch, clip_loader
from slt_cache.batches.features import FeatureBatch, feature_loader
from slt_cache.checkpoints.translator import load_llm
from slt_cache.checkpoints.visual import load_visual
from slt_cache.config import OptimizerConfig
from slt_cache.doctor.base import Check, Finding, Subject, exact
from slt_cache.features.cache import FeatureCache
from slt_cache.pipeline.prepare import ensure_clips, require_split
from slt_cache.runs.unfinished import BEST
from slt_cache.training.loop import train
from slt_cache.training.task import TrainerOptions
from slt_cache.training.tasks.llm import FromCacheTask
from slt_cache.training.tasks.visual import FromPixelsTask, visual_optimizer

BATCH = 4
DROPOUT = 0.1
STOP = (2, 2)
"""Epoch and batch before which the training is interrupted."""
NEAR = 10
"""Times the difference of two equal trainings that a resumed one may differ, on a device that does not repeat them."""


class _Stopped(KeyboardInterrupt):
    """Interruption by this check, unlike the user's."""


Batch = TypeVar("Batch")
Stop = tuple[int, int] | None


def _until(stop: Stop, epoch: int, first: int, batches: Iterable[Batch]) -> Iterator[Batch]:
    for number, batch in enumerate(batches, first):
        if (epoch, number) == stop:
            raise _Stopped
        yield batch


class _FromPixels(FromPixelsTask):
    """Stage 1's own task, up to a batch."""

    stop: Stop = None

    def batches(self, epoch: int, first: int = 0) -> Iterator[ClipBatch]:
        return _until(self.stop, epoch, first, super().batches(epoch, first))


class _FromCache(FromCacheTask):
    """Stage 2's own task, up to a batch."""

    stop: Stop = None

    def batches(self, epoch: int, first: int = 0) -> Iterator[FeatureBatch]:
        return _until(self.stop, epoch, first, super().batches(epoch, first))


def _from_pixels(subject: Subject) -> _FromPixels:
    run = subject.trained
    visual, config = load_visual(run.visual / BEST), run.config
    visual.model.translator.feature_dropout.p = DROPOUT
    loader = clip_loader(
        require_split(run, ensure_clips(run), "train"),
        config.video,
        visual.tokenizer,
        batch_size=BATCH,
        workers=0,
        seed=0,
        augmentation=config.augmentation,
        pinned=subject.on_gpu,
    )
    optimizer = partial(visual_optimizer, visual.model, config.visual_training)
    return _FromPixels("resume", visual.model, loader, optimizer, dict, _save_nothing)


def _from_cache(subject: Subject) -> _FromCache:
    run = subject.trained
    llm, config = load_llm(run.llm / BEST), run.config.llm_training
    llm.model.feature_dropout.p = DROPOUT
    loader = feature_loader(FeatureCache(run.features, "train"), llm.tokenizer, batch_size=BATCH, shuffle=True)
    rates = {"lr": config.lr, "adapter_lr": config.adapter_lr, "weight_decay": config.weight_decay}
    return _FromCache("resume", llm.model, loader, **rates, evaluate=dict, save_best=_save_nothing)


def _save_nothing(epoch: int, dev: dict[str, float]) -> None:
    pass


def _check(subject: Subject) -> Iterator[Finding]:
    makers: dict[str, Callable[[Subject], _FromPixels | _FromCache]] = {"stage 1": _from_pixels, "stage 2": _from_cache}
    for name, make in makers.items():
        folder = subject.folder / "resume" / name
        with exact(subject.device):
            first, again = (_trained(subject, make, folder / str(one), None) for one in range(2))
            resumed = _trained(subject, make, folder / "resumed", STOP)
        repeated = _difference(again, first)
        yield Finding(f"{name}: largest difference of a weight, trained again", repeated)
        resumption = _difference(resumed, first)
        yield Finding(f"{name}: largest difference of a weight, interrupted and resumed", resumption, NEAR * repeated)


def _trained(
    subject: Subject, make: Callable[[Subject], _FromPixels | _FromCache], folder: Path, stop: Stop
) -> dict[str, torch.Tensor]:
    """Returns the weights after a training that is interrupted at `stop` and resumed, or not at all."""
    loop = OptimizerConfig(epochs=STOP[0], batch_size=BATCH, lr=1e-3)
    options = TrainerOptions(loop, 0, loop.epochs, "fp32", subject.device, folder)
    if stop is not None:
        with suppress(_Stopped):
            _train(subject, make, options, stop)
    return _train(subject, make, options, None)


def _train(
    subject: Subject, make: Callable[[Subject], _FromPixels | _FromCache], options: TrainerOptions, stop: Stop
) -> dict[str, torch.Tensor]:
    task = make(subject)
    task.stop = stop
    task.model.to(subject.device)
    done = train(task, options)
    assert done.epoch == STOP[0], "the training ended early"
    return {name: value.detach().cpu() for name, value in task.model.state_dict().items()}


def _difference(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> float:
    return max(float((found[name] - value).abs().max()) for name, value in expected.items())


CHECK = Check("resume", "An interrupted and resumed training ends with the weights of an uninterrupted one.", _check)
