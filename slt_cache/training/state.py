"""A training that is not finished, on disk: enough to go on to the bit, from the middle of an epoch too."""

import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from slt_cache.distributed.processes import barrier, gather_object, is_main_process, rank, size
from slt_cache.errors import InputError
from slt_cache.files import replacing
from slt_cache.metrics.base import Metric
from slt_cache.reading import first_line
from slt_cache.training.optimizers import load_optimizer

STATE_FILE = "state.pt"


@dataclass
class TrainerState:
    """What grows while training goes on."""

    epoch: int = 0
    """Epochs done."""
    step: int = 0
    """Updates done."""
    seconds: float = 0.0
    """Spent in the loop, over all runs of it."""
    best_epoch: int = 0
    dev: dict[str, float] = field(default_factory=dict)
    """Scores of the best weights."""
    batch: int = 0
    """Batches done of the epoch that has begun; 0 between epochs."""
    loss: float = 0.0
    """Of these batches, summed over their target tokens."""
    tokens: int = 0
    """Target tokens of these batches."""
    dev_sha256: str | None = None
    """Identity of the dev split that has chosen the best weights so far; None without dev."""

    def better(self, scores: dict[str, float], metric: Metric) -> bool:
        """Returns whether these dev scores are better than those of the best weights so far, or there are none."""
        return not self.dev or not scores or metric.is_better(scores[metric.key], self.dev[metric.key])

    def updated(self, batches: int, loss: float, tokens: int) -> None:
        """Counts an update over so many batches; `loss` is the mean of their target tokens."""
        self.step += 1
        self.batch += batches
        self.loss += loss * tokens
        self.tokens += tokens

    @property
    def mean_loss(self) -> float:
        """Of a target token, over the epoch that has begun."""
        return self.loss / max(self.tokens, 1)

    def end_epoch(self) -> None:
        self.epoch += 1
        self.batch, self.loss, self.tokens = 0, 0.0, 0


def read_state(path: Path) -> dict[str, Any]:
    """What an unfinished training saved, compared with the checksums that torch put into the file and does not look at
    when it reads. Raises InputError for a file that is damaged or cut off."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"{damaged} does not have its checksum")
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return state
    except MemoryError:
        raise
    except Exception as error:  # zipfile and torch have their own for each way of being damaged
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(
        f"{path}: damaged or cut off ({first_line(error)}). Put back a copy of it, or start the training over with "
        "--restart."
    )


class TrainingState:
    """Weights, optimizer, loss scaler of fp16, random numbers and progress, as they are and as they were saved."""

    def __init__(self, folder: Path, model: nn.Module, optimizer: Optimizer, scaler: Any, device: torch.device):
        """Takes all of it from the folder where an earlier run saved it there."""
        self.path = folder / STATE_FILE
        self.model = model
        self.optimizer = optimizer
        self.scaler = scaler
        self.device = device
        self.progress = TrainerState()
        self.random: dict[str, torch.Tensor] = {}
        self.processes = size()
        """That saved the state."""
        self.threads = torch.get_num_threads()
        """Of the process that saved the state."""
        if self.path.is_file():
            self._load()

    def save(self) -> None:
        """Whole or not at all: a kill meanwhile leaves what was saved before. Of several processes all take part, for
        each has random numbers of its own, and the leader writes."""
        randoms = gather_object(lambda: [self.random])
        if is_main_process():
            self._write(randoms)
        if size() > 1:
            barrier()

    def _write(self, randoms: list[dict[str, torch.Tensor]]) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
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
        except Exception as error:  # a value that is missing, or of another kind or size than this training's
            raise _damaged(self.path, error) from error

    def _take(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        load_optimizer(self.optimizer, state["optimizer"])
        if self.scaler is not None and state.get("scaler"):
            self.scaler.load_state_dict(state["scaler"])
        randoms = [state.get("random", {}), *state.get("others", [])]
        self.processes, self.threads = len(randoms), state.get("threads", self.threads)
        self.random = randoms[rank()] if rank() < len(randoms) else {}  # more than before: seeded by epoch and rank
        self.progress = TrainerState(**state["progress"])

    def remember_random(self) -> None:
        """To be called behind an update: what is read for the next one may draw, and will be read anew on resume."""
        self.random = {"cpu": torch.get_rng_state()}
        if self.device.type != "cpu":
            self.random[self.device.type] = torch.get_device_module(self.device).get_rng_state()

    def restore_random(self) -> None:
        """The state behind the last update. Of a device that had no part in it, as it is."""
        if "cpu" in self.random:
            torch.set_rng_state(self.random["cpu"])
        if self.device.type in self.random and self.device.type != "cpu":
            torch.get_device_module(self.device).set_rng_state(self.random[self.device.type])
