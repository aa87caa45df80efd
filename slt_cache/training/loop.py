"""The training loop of both stages and of the LLM's pre-training. What differs between them is passed in as a `Task`.

Everything random in an epoch follows from (seed, epoch), and the state is saved after every epoch: a run that was
killed begins its last epoch anew and, where the device computes the same twice, ends where an uninterrupted one
ends. (With fp16 the loss scale begins anew; with `max_seconds` the clock decides.)"""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import nn
from torch.optim import Optimizer
from tqdm import tqdm

from slt_cache.config import OptimizerConfig
from slt_cache.errors import SltCacheError
from slt_cache.files import replacing
from slt_cache.models.sign_translator import token_loss
from slt_cache.training.metrics_log import MetricsLog

LOG_EVERY = 10
"""Updates between two lines of the metrics log."""
STATE_FILE = "state.pt"


class Task(Protocol):
    """What a stage gives to the loop."""

    @property
    def name(self) -> str:
        """Shown beside the progress bar."""
        ...

    @property
    def model(self) -> Any: ...

    @property
    def steps_an_epoch(self) -> int: ...

    def optimizer(self) -> Optimizer: ...

    def batches(self, epoch: int) -> Iterable[Any]:
        """Batches with `ids`, `targets` and `to(device)`."""
        ...

    def logits(self, model: Any, batch: Any) -> torch.Tensor:
        """Logits [B, L, V]; `model` is `self.model` as the engine wrapped it."""
        ...

    @property
    def evaluate(self) -> Callable[[], dict[str, float]]:
        """Scores on dev; `bleu4` decides which weights are the best. Empty where there is no dev."""
        ...

    @property
    def save_best(self) -> Callable[[int, dict[str, float]], None]:
        """(epoch, dev scores): writes the weights of `self.model`."""
        ...


@dataclass(frozen=True)
class Engine:
    """How to train, whatever is trained."""

    settings: OptimizerConfig
    seed: int
    evaluate_every: int
    """Epochs"""
    precision: str
    device: torch.device
    folder: Path
    """Holds metrics.jsonl and, while the training is unfinished, last/."""
    max_seconds: float | None = None
    """Where given, training ends after this time, and the learning rate falls with time instead of updates."""


@dataclass
class Progress:
    """What grows while training goes on; saved after every epoch."""

    epoch: int = 0
    """Epochs done."""
    step: int = 0
    """Updates done."""
    seconds: float = 0.0
    """Spent in the loop, over all runs of it."""
    best_epoch: int = 0
    dev: dict[str, float] = field(default_factory=dict)
    """Scores of the best weights."""

    def better(self, scores: dict[str, float]) -> bool:
        return not self.dev or not scores or scores["bleu4"] > self.dev["bleu4"]


def train(task: Task, engine: Engine) -> Progress:
    """Trains `task.model` and keeps its best weights; goes on from `last/` where an earlier run left off.

    Raises SltCacheError on a loss that is not finite, naming the clips of the batch."""
    mixed = "no" if engine.precision == "fp32" else engine.precision
    accelerator = Accelerator(cpu=engine.device.type == "cpu", mixed_precision=mixed)
    model, optimizer = accelerator.prepare(task.model, task.optimizer())
    peaks = [group["lr"] for group in optimizer.param_groups]
    progress = _load_state(engine.folder, task.model, optimizer)
    log = MetricsLog(engine.folder / "metrics.jsonl", progress.epoch)
    if progress.epoch:
        tqdm.write(f"{task.name}: goes on after epoch {progress.epoch}", file=log.terminal)
    begun = time.monotonic() - progress.seconds
    while not _finished(engine, progress):
        epoch = progress.epoch + 1
        torch.manual_seed(engine.seed * 1_000_003 + epoch)
        model.train()
        mean = _Mean()
        bar = tqdm(task.batches(epoch), f"{task.name} epoch {epoch}", task.steps_an_epoch, leave=False, disable=None)
        for batch in bar:
            progress.seconds = time.monotonic() - begun
            if engine.max_seconds is not None and progress.seconds >= engine.max_seconds:
                break
            factor = _learning_rate_factor(engine, task.steps_an_epoch, progress)
            _set_learning_rates(optimizer, peaks, factor)
            loss, tokens = _update(task, engine, accelerator, model, optimizer, batch)
            mean.add(loss * tokens, tokens)
            progress.step += 1
            if progress.step % LOG_EVERY == 0:
                bar.set_postfix(loss=f"{loss:.3f}", bleu4=f"{progress.dev.get('bleu4', float('nan')):.1f}")
                log.step(epoch, progress.step, loss, optimizer.param_groups[0]["lr"])
        progress.epoch = epoch
        progress.seconds = time.monotonic() - begun  # whether this epoch is the last one decides on its evaluation
        scores = _evaluate(task, engine, accelerator, progress)
        progress.seconds = time.monotonic() - begun
        log.epoch(task.name, epoch, progress.step, mean.value, scores, progress.seconds)
        _save_state(engine.folder, task.model, optimizer, progress)
    return progress


def _out_of_epochs(engine: Engine, progress: Progress) -> bool:
    if engine.max_seconds is not None:
        return progress.seconds >= engine.max_seconds
    return progress.epoch >= engine.settings.epochs


def _finished(engine: Engine, progress: Progress) -> bool:
    """Whether the epochs (or the seconds) are used up, or dev has not improved for too long."""
    patience = engine.settings.patience
    stale = progress.epoch - progress.best_epoch
    early = patience is not None and bool(progress.dev) and stale >= patience * engine.evaluate_every
    return early or _out_of_epochs(engine, progress)


def _update(
    task: Task, engine: Engine, accelerator: Accelerator, model: nn.Module, optimizer: Optimizer, batch: Any
) -> tuple[float, int]:
    """One update of the weights. Returns the mean loss of a target token, and their number."""
    batch = batch.to(engine.device)
    tokens = batch.targets.tokens
    with accelerator.autocast():
        logits = task.logits(model, batch)
    loss = token_loss(logits, batch.targets.labels, engine.settings.label_smoothing) / tokens
    if not torch.isfinite(loss):
        raise SltCacheError(
            f"{task.name}: the loss became {loss.item()} on the clips {', '.join(batch.ids)}. "
            "Lower the learning rate, set clip_norm, or look at these clips."
        )
    model.zero_grad()  # also what no optimizer steps: clipping looks at every gradient
    accelerator.backward(loss)
    if engine.settings.clip_norm is not None:
        accelerator.clip_grad_norm_(model.parameters(), engine.settings.clip_norm)
    optimizer.step()
    return loss.item(), tokens


def _evaluate(task: Task, engine: Engine, accelerator: Accelerator, progress: Progress) -> dict[str, float]:
    """Scores dev where it is due, and keeps the weights if they are the best so far."""
    if progress.epoch % engine.evaluate_every and not _out_of_epochs(engine, progress):
        return {}
    task.model.eval()
    with torch.no_grad(), accelerator.autocast():
        scores = task.evaluate()
    if progress.better(scores):
        progress.best_epoch, progress.dev = progress.epoch, scores
        task.save_best(progress.epoch, scores)
    return scores


def _learning_rate_factor(engine: Engine, steps_an_epoch: int, progress: Progress) -> float:
    """Linear warm-up to 1, then a cosine to 0 (method.md: cosine annealing)."""
    warmup = engine.settings.warmup_steps
    if progress.step < warmup:
        return (progress.step + 1) / (warmup + 1)
    if engine.max_seconds is not None:
        done = progress.seconds / engine.max_seconds
    else:
        steps = steps_an_epoch * engine.settings.epochs
        done = (progress.step - warmup) / max(steps - warmup, 1)
    return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def _set_learning_rates(optimizer: Optimizer, peaks: list[float], factor: float) -> None:
    for group, peak in zip(optimizer.param_groups, peaks, strict=True):
        group["lr"] = peak * factor


def _save_state(folder: Path, model: nn.Module, optimizer: Optimizer, progress: Progress) -> None:
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "progress": asdict(progress)}
    with replacing(folder / "last" / STATE_FILE) as temporary:
        torch.save(state, temporary)


def _load_state(folder: Path, model: nn.Module, optimizer: Optimizer) -> Progress:
    path = folder / "last" / STATE_FILE
    if not path.is_file():
        return Progress()
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return Progress(**state["progress"])


class _Mean:
    """Mean loss of an epoch's target tokens."""

    def __init__(self) -> None:
        self.total = 0.0
        self.count = 0

    def add(self, total: float, count: int) -> None:
        self.total += total
        self.count += count

    @property
    def value(self) -> float:
        return self.total / max(self.count, 1)
