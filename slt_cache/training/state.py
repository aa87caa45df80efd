"""State of an unfinished training on disk, from which it resumes bit for bit, even within an epoch.

Frozen weights, such as those of an LLM with LoRA, are in no state, which names them by their hash: the resumed training
makes its model anew, and refuses other frozen weights."""

import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from slt_cache.distributed.processes import barrier, gather_object, is_main_process, rank, size
from slt_cache.errors import InputError
from slt_cache.files import replacing
from slt_cache.metrics.base import Metric
from slt_cache.models.weights import frozen_state, tensors_sha256
from slt_cache.reading import first_line
from slt_cache.training.averages import AveragedWeights
from slt_cache.training.optimizers import load_optimizer

STATE_FILE = "state.pt"


@dataclass
class TrainerState:
    """Progress of a training."""

    epoch: int = 0
    """Number of finished epochs."""
    step: int = 0
    """Number of optimizer steps."""
    seconds: float = 0.0
    """Seconds spent in the loop, over all runs."""
    memory_bytes: int = 0
    """Peak memory of the main process, see `device.peak_memory`, over all runs; 0 in the state of an earlier
    version."""
    best_epoch: int = 0
    dev: dict[str, float] = field(default_factory=dict)
    """Dev scores of the best weights."""
    batch: int = 0
    """Finished batches of the current epoch; 0 between epochs."""
    loss: float = 0.0
    """Loss of these batches, summed over their target tokens."""
    tokens: int = 0
    """Target tokens of these batches."""
    terms: dict[str, float] = field(default_factory=dict)
    """Other terms of the loss of these batches, by name, likewise."""
    dev_sha256: str | None = None
    """SHA-256 of the dev split that selected the best weights so far; None without dev."""

    def better(self, scores: dict[str, float], metric: Metric) -> bool:
        """Returns whether these dev scores beat those of the best weights, or there are none."""
        return not self.dev or not scores or metric.is_better(scores[metric.key], self.dev[metric.key])

    def updated(self, batches: int, loss: float, tokens: int, terms: Mapping[str, float]) -> None:
        """Counts an optimizer step over this many batches; `loss` is the mean over their target tokens, `terms` are
        the other terms of the loss."""
        self.step += 1
        self.batch += batches
        self.loss += loss * tokens
        self.tokens += tokens
        for name, value in terms.items():
            self.terms[name] = self.terms.get(name, 0.0) + value * tokens

    @property
    def mean_loss(self) -> float:
        """Mean loss per target token in the current epoch."""
        return self.loss / max(self.tokens, 1)

    @property
    def mean_terms(self) -> dict[str, float]:
        """Means of the other terms in the current epoch, weighted by target tokens."""
        return {name: value / max(self.tokens, 1) for name, value in self.terms.items()}

    def end_epoch(self) -> None:
        self.epoch += 1
        self.batch, self.loss, self.tokens, self.terms = 0, 0.0, 0, {}


def read_state(path: Path) -> dict[str, Any]:
    """Reads the state of an unfinished training and verifies torch's checksums, which torch.load ignores. Raises
    InputError for a damaged or truncated file."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"{damaged} does not have its checksum")
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return state
    except MemoryError:
        raise
    except Exception as error:  # zipfile and torch raise various types
        raise _damaged(path, error) from error


def read_progress(path: Path) -> TrainerState:
    """Returns how far a saved training is, without reading its weights. Raises InputError for a damaged file."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        return TrainerState(**state["progress"])
    except Exception as error:  # zipfile and torch have their own for each way of being damaged
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(
        f"{path}: damaged or truncated ({first_line(error)}). Restore a copy of it, or start the training over with "
        "--restart."
    )


class TrainingState:
    """Weights and their average, optimizer, fp16 loss scaler, random states and progress, live and as saved."""

    def __init__(
        self,
        folder: Path,
        model: nn.Module,
        optimizer: Optimizer,
        scaler: Any,
        device: torch.device,
        averages: AveragedWeights | None = None,
    ):
        """Loads the state from the folder if an earlier run saved one."""
        self.path = folder / STATE_FILE
        self.model = model
        self.optimizer = optimizer
        self.scaler = scaler
        self.device = device
        self.averages = averages
        self.progress = TrainerState()
        self.random: dict[str, torch.Tensor] = {}
        self.processes = size()
        """Number of processes that saved the state."""
        self.threads = torch.get_num_threads()
        """Number of threads of the process that saved the state."""
        if self.path.is_file():
            self._load()

    def save(self) -> None:
        """Saves the state atomically. All processes take part, since each has its own random state; the main process
        writes."""
        randoms = gather_object(lambda: [self.random])
        if is_main_process():
            self._write(randoms)
        if size() > 1:
            barrier()

    @cached_property
    def _frozen(self) -> tuple[frozenset[str], str | None]:
        """Names of the frozen weights, and their SHA-256; None if there are none."""
        frozen = frozen_state(self.model)
        return frozenset(frozen), tensors_sha256(frozen) if frozen else None

    def _write(self, randoms: list[dict[str, torch.Tensor]]) -> None:
        frozen, sha256 = self._frozen
        state = {
            "model": {name: value for name, value in self.model.state_dict().items() if name not in frozen},
            **({} if sha256 is None else {"frozen_sha256": sha256}),
            "optimizer": self.optimizer.state_dict(),
            **({} if self.averages is None else {"averages": self.averages.averages}),
            "scaler": None if self.scaler is None else self.scaler.state_dict(),
            "random": randoms[0],
            "others": randoms[1:],
            "progress": asdict(self.progress),
            "threads": torch.get_num_threads(),
        }
        with replacing(self.path) as temporary:
            torch.save(state, temporary)

    def _load(self) -> None:
        state = read_state(self.path)
        try:
            self._take(state)
        except InputError:
            raise
        except Exception as error:  # a value is missing, or of another type or size
            raise _damaged(self.path, error) from error

    def _take(self, state: dict[str, Any]) -> None:
        self._take_weights(state["model"], state.get("frozen_sha256"))
        load_optimizer(self.optimizer, state["optimizer"])
        if self.scaler is not None and state.get("scaler"):
            self.scaler.load_state_dict(state["scaler"])
        if self.averages is not None:
            self.averages.load(state["averages"])
        randoms = [state.get("random", {}), *state.get("others", [])]
        self.processes, self.threads = len(randoms), state.get("threads", self.threads)
        self.random = (
            randoms[rank()] if rank() < len(randoms) else {}
        )  # more processes than before: seeded by epoch and rank
        self.progress = TrainerState(**state["progress"])

    def _take_weights(self, weights: dict[str, Any], frozen_sha256: str | None) -> None:
        """Loads the weights. Raises InputError if the model has other frozen ones than the training began with; a state
        of an earlier version holds them too."""
        if frozen_sha256 is None:
            self.model.load_state_dict(weights)
            return
        frozen, sha256 = self._frozen
        if sha256 != frozen_sha256:
            origins = [one.name_or_path for one in self.model.modules() if getattr(one, "name_or_path", "")]
            raise InputError(
                f"{self.path}: the training began with other frozen weights (SHA-256 {frozen_sha256[:12]}..., now "
                f"{str(sha256)[:12]}...{f' in {origins[0]}' if origins else ''}). Restore them, or start over with "
                "--restart."
            )
        found = self.model.load_state_dict(weights, strict=False)
        wrong = [*found.unexpected_keys, *(name for name in found.missing_keys if name not in frozen)]
        if wrong:
            raise ValueError(f"{wrong[0]} is missing or unknown")

    def remember_random(self) -> None:
        """Remembers the random state. Call after each optimizer step: prefetching the next batch may consume random
        numbers, and is repeated on resume."""
        self.random = {"cpu": torch.get_rng_state()}
        if self.device.type != "cpu":
            self.random[self.device.type] = torch.get_device_module(self.device).get_rng_state()

    def restore_random(self) -> None:
        """Restores the random state after the last step; that of a device which took no part stays as it is."""
        if "cpu" in self.random:
            torch.set_rng_state(self.random["cpu"])
        if self.device.type in self.random and self.device.type != "cpu":
            torch.get_device_module(self.device).set_rng_state(self.random[self.device.type])
