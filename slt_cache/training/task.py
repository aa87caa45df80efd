"""Inputs of the training loop: what is trained, and how."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn
from torch.optim import Optimizer

from slt_cache.config import OptimizerConfig
from slt_cache.metrics.base import Metric
from slt_cache.metrics.registry import selector_named
from slt_cache.training.objectives.base import Outputs


class Task(Protocol):
    """Task of a training, which the loop is given by its stage."""

    @property
    def name(self) -> str:
        """Name shown next to the progress bar."""
        ...

    @property
    def unit(self) -> str:
        """Unit of the `size` of a batch: frames, steps or tokens."""
        ...

    @property
    def model(self) -> Any: ...

    @property
    def batches_an_epoch(self) -> int: ...

    def optimizer(self) -> Optimizer: ...

    def batches(self, epoch: int, first: int = 0) -> Iterable[Any]:
        """Yields batches with `ids`, `targets`, `size` and `to(device)`, starting from batch `first` of the epoch."""
        ...

    def logits(self, model: Any, batch: Any) -> torch.Tensor | Outputs:
        """Computes logits [B, L, V], and other terms of the loss if there are any; `model` is `self.model` as
        accelerate wrapped it."""
        ...

    def last_layers(self) -> dict[str, nn.Module]:
        """Returns the last layer of each module, for diagnostics."""
        ...

    @property
    def evaluate(self) -> Callable[[], dict[str, float]]:
        """Function that returns dev scores, including `select_by`, which selects the best weights. Empty without
        dev."""
        ...

    @property
    def save_best(self) -> Callable[[int, dict[str, float]], None]:
        """Function of (epoch, dev scores) that saves the weights of `self.model`."""
        ...

    def epoch_ended(self, epoch: int) -> None:
        """Called after every epoch, on the main process only, before the state is saved; after a kill in between, it is
        called again."""
        ...


LAST = "last"
"""Name of the folder of an unfinished training, in the folder of its stage."""


@dataclass(frozen=True)
class TrainerOptions:
    """Options of a training, whatever is trained."""

    settings: OptimizerConfig
    seed: int
    evaluate_every: int
    """Epochs between evaluations."""
    precision: str
    device: torch.device
    folder: Path
    """Folder of the stage; the training writes into last/ in it."""
    save_seconds: float = 600.0
    """Seconds between two savings of the state within an epoch; infinite if it is never saved, not even on Ctrl-C."""
    diagnostics: bool = True
    """Whether norms of gradients and weights are logged."""
    tracker: str = "none"
    state_saved: Callable[[], None] = lambda: None
    """Called on the main process whenever the state was saved, from which the training can be resumed."""

    dev_sha256: str | None = None
    """SHA-256 of the dev split; None without one."""
    score_best: Callable[[], dict[str, float]] = dict
    """Function that scores the best weights on dev again, called if dev has changed."""
    measured: Callable[[], Mapping[str, float]] = dict
    """Function that returns what the last evaluation measured besides its scores, such as the video gap, to be
    logged."""

    evaluated: Callable[[int, Mapping[str, float]], None] = lambda epoch, scores: None
    """Called with epoch and dev scores after each evaluation, once the state is saved; may raise to end the training
    there."""

    before: OptimizerConfig | None = None
    """Settings of the shorter training that is being continued, to log how the learning rate differs; None
    otherwise."""

    @property
    def metric(self) -> Metric:
        """Metric that selects the best weights."""
        return selector_named(self.settings.select_by, "select_by")

    @property
    def last(self) -> Path:
        """Folder of the state, metrics.jsonl and the tracker's files of an unfinished training."""
        return self.folder / LAST
