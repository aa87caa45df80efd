"""What is trained, and how: the two things that the loop is given."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn
from torch.optim import Optimizer

from slt_cache.config import OptimizerConfig
from slt_cache.metrics.base import Metric
from slt_cache.metrics.registry import metric_named


class Task(Protocol):
    """What a stage gives to the loop."""

    @property
    def name(self) -> str:
        """Shown beside the progress bar."""
        ...

    @property
    def unit(self) -> str:
        """What the `size` of a batch counts: frames, steps or tokens."""
        ...

    @property
    def model(self) -> Any: ...

    @property
    def batches_an_epoch(self) -> int: ...

    def optimizer(self) -> Optimizer: ...

    def batches(self, epoch: int, first: int = 0) -> Iterable[Any]:
        """Batches with `ids`, `targets`, `size` and `to(device)`, from number `first` of the epoch on."""
        ...

    def logits(self, model: Any, batch: Any) -> torch.Tensor:
        """Logits [B, L, V]; `model` is `self.model` as accelerate wrapped it."""
        ...

    def last_layers(self) -> dict[str, nn.Module]:
        """Of each module, to be watched."""
        ...

    @property
    def evaluate(self) -> Callable[[], dict[str, float]]:
        """Scores on dev, among them `select_by`, which decides which weights are the best. Empty without dev."""
        ...

    @property
    def save_best(self) -> Callable[[int, dict[str, float]], None]:
        """(epoch, dev scores): writes the weights of `self.model`."""
        ...

    def epoch_ended(self, epoch: int) -> None:
        """Called behind every epoch, on the leader alone, before the state is saved: what it writes is written again
        where a kill comes between."""
        ...


LAST = "last"
"""Folder of an unfinished training, in the folder of its stage."""


@dataclass(frozen=True)
class TrainerOptions:
    """How to train, whatever is trained."""

    settings: OptimizerConfig
    seed: int
    evaluate_every: int
    """Epochs"""
    precision: str
    device: torch.device
    folder: Path
    """Of the stage; the training writes into last/ in it."""
    save_seconds: float = 600.0
    """Between two savings of the state within an epoch; infinite where nothing is kept, on Ctrl-C neither."""
    diagnostics: bool = True
    """Whether norms of gradients and weights are logged."""
    tracker: str = "none"
    state_saved: Callable[[], None] = lambda: None
    """Called on the leader whenever the state is on disk: the training can be resumed from then on."""

    dev_sha256: str | None = None
    """Identity of the dev split; None without one."""
    score_best: Callable[[], dict[str, float]] = dict
    """Scores the best weights so far on dev again: called if dev has changed since they were chosen."""

    @property
    def metric(self) -> Metric:
        """Decides which weights are the best."""
        return metric_named(self.settings.select_by, "select_by")

    @property
    def last(self) -> Path:
        """Holds the state, metrics.jsonl and the tracker's files while the training is unfinished."""
        return self.folder / LAST
