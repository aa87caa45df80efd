"""What a check is given and what it returns: a device to examine, findings with their limits."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from slt_cache.checkpoints.record import LOG_FILE
from slt_cache.config import load_config
from slt_cache.device import under_load
from slt_cache.features.cache import FeatureCache
from slt_cache.pipeline.extract import extract
from slt_cache.pipeline.train_llm import train_llm
from slt_cache.pipeline.train_visual import train_visual
from slt_cache.runs.begin_from import begin_from
from slt_cache.runs.run import Run
from slt_cache.training.logs import read_metrics

FAILED, NOT_CHECKED, PASSED = "failed", "not checked", "passed"
SETTINGS = (
    *("corpus.clips=24", "encoder.dim=32", "light_t.dropout=0.0", "compute.workers=0"),
    *("visual_training.epochs=2", "visual_training.batch_size=4", "visual_training.warmup_steps=0"),
    *("llm_pretraining.epochs=1", "llm_pretraining.hidden=32", "llm_pretraining.heads=2", "llm_pretraining.layers=1"),
    *("llm_pretraining.feed_forward=64", "llm_pretraining.batch_size=512", "llm_pretraining.dropout=0.0"),
    *("llm_training.epochs=2", "llm_training.batch_size=4", "llm_training.warmup_steps=0"),
    *("llm_training.lr=1e-3", "llm_training.adapter_lr=1e-2"),
    *("generation.num_beams=1", "generation.max_new_tokens=16"),
)
"""Settings of small trainings, on top of those of the demo corpus. Without dropout, whose masks differ between devices,
they give the same losses everywhere, but for rounding."""
TRAINED = "trained"
"""Folder of the run that was trained on the CPU."""
SPLITS = ("train", "dev", "test")
LOSSES = 2e-3
"""Largest relative difference of an epoch's mean loss in float32. Rounding grows from step to step."""


@dataclass(frozen=True)
class Finding:
    """Something that a check measured, or why it could not."""

    name: str
    value: Any = None
    """A number, a text, or several values by name."""
    at_most: float | None = None
    """Largest value that passes; None for what is only reported."""
    not_checked: str = ""
    """Why it was not measured."""

    @property
    def passed(self) -> bool:
        return self.at_most is None or bool(self.value <= self.at_most)  # NaN does not pass


@dataclass(frozen=True)
class Subject:
    """The device that is examined, and a temporary folder."""

    device: torch.device
    folder: Path

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    def run(self, name: str, device: torch.device | str, *settings: str) -> Run:
        """Returns a small run on a device, in a folder of this name. All have the same drawn clips."""
        words = [*SETTINGS, f"corpus.root={self.folder / 'corpus'}", f"compute.device={device}", *settings]
        return Run(self.folder / name, load_config("avatar", words))

    @cached_property
    def trained(self) -> Run:
        """Run of both stages with its cache, trained on the CPU, whose numbers are those that the device is compared
        with."""
        run = self.run(TRAINED, "cpu")
        train_visual(run)
        extract(run, SPLITS, run.features)
        train_llm(run, run.features)
        return run

    def before_stage_2(self, name: str, device: torch.device | str, *settings: str) -> Run:
        """Returns a run on a device that begins with the encoder, features and pre-trained LLM of the trained one."""
        run = self.run(name, device, *settings)
        begin_from(self.trained.folder, run.folder, str(self.trained.features))
        return run

    def both(self, name: str) -> tuple[tuple[str, str], tuple[str, str]]:
        """Returns a folder's name and the device of a training on the CPU, and of the same training on the device."""
        return (f"{name}-cpu", "cpu"), (name, str(self.device))

    def limit_of_time(self, most: float) -> float | None:
        """Returns the limit of a ratio of times; None on a CPU, where small models show little but the overhead, and on
        a machine that other programs keep busy."""
        return most if self.on_gpu and not under_load() else None


@dataclass(frozen=True)
class Check:
    name: str
    about: str
    """What is checked, as a sentence."""
    run: Callable[[Subject], Iterable[Finding]]


@contextmanager
def exact(device: torch.device) -> Iterator[None]:
    """Makes a GPU compute float32 without TF32, and with deterministic kernels if there are any."""
    if device.type != "cuda":
        yield
        return
    cublas, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = cublas.allow_tf32, cudnn.allow_tf32
    cublas.allow_tf32 = cudnn.allow_tf32 = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)
        cublas.allow_tf32, cudnn.allow_tf32 = before


def relative(found: Any, expected: Any) -> float:
    """Returns the norm of the difference of two arrays, relative to that of the expected one."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def losses(stage: Path) -> list[float]:
    """Returns the mean loss of each epoch of a training, from its log."""
    return [line["loss"] for line in read_metrics(stage / LOG_FILE) if line["kind"] == "epoch"]


def against_cpu(stage: Path, expected: Path, at_most: float = LOSSES) -> Iterator[Finding]:
    """Yields whether a training learns, and how its losses differ from those of the same training on the CPU."""
    found, wanted = losses(stage), losses(expected)
    if len(found) > 1:
        yield Finding("mean loss of the last epoch, relative to the first", found[-1] / found[0], at_most=1.0)
    name = f"{stage.name}: mean losses of the epochs, relative difference from the CPU's"
    yield Finding(name, relative(found, wanted[: len(found)]), at_most=at_most)


def feature_difference(found: Path, expected: Path, split: str = "dev") -> float:
    """Returns the relative difference of all features of a split in two caches."""
    return relative(FeatureCache(found, split).features, FeatureCache(expected, split).features)
