"""A toy task for the training loop: a linear model with dropout on random numbers."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from slt_cache.batches.targets import Targets
from slt_cache.config import (
    OptimizerConfig,
)
from slt_cache.models.translators import IGNORED
from slt_cache.training.logs import read_metrics
from slt_cache.training.optimizers import AdamW
from slt_cache.training.task import TrainerOptions

STEPS, BATCH, LENGTH, WORDS = 12, 3, 4, 7
"""Size of the toy task: updates per epoch, clips per batch, tokens per sentence, vocabulary."""


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
    """Raised like a kill: nothing catches it."""


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
        """Takes `bleu4` of each epoch, `kill` as (epoch, batch), and `broken`, the batch with a value that is not
        finite."""
        self.model: Any = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(5, 8), nn.BatchNorm1d(LENGTH), nn.Linear(8, WORDS)
        )
        self.bleu4 = bleu4
        self.kill = kill
        self.lr = lr
        self.broken = broken
        self.on_batch = on_batch
        self.epoch = 0
        self.lrs: list[tuple[float, ...]] = []
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
        self.lrs.append(tuple(group["lr"] for group in self.inner.param_groups))
        self.modes.append(model.training)
        self.on_batch()
        logits: torch.Tensor = model(batch.features)
        return logits

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


def options_of(folder: Path, evaluate_every: int = 1, **settings: Any) -> TrainerOptions:
    loop = OptimizerConfig(**({"epochs": 4, "batch_size": BATCH, "lr": 0.1} | settings))
    return TrainerOptions(loop, 3, evaluate_every, "fp32", torch.device("cpu"), folder)


def without_seconds(folder: Path) -> list[dict[str, Any]]:
    return [{**line, "seconds": None} for line in read_metrics(folder / "last" / "metrics.jsonl")]


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name
