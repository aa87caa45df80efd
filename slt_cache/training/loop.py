"""The training loop of both stages and of the LLM's pre-training. What differs between them is passed in as a `Task`.

Everything random in an epoch follows from (seed, epoch) and from the updates before. The state is saved after every
epoch, now and then within one, and on Ctrl-C or SIGTERM: a run that was killed goes on from there and, where the device
computes the same twice, ends where an uninterrupted one ends. (With `max_seconds` the clock decides.)

Several processes (torchrun) share every batch and do what one alone would: before each update they agree on its target
tokens, on the clock and on whether to stop; the leader saves and speaks."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import nn
from torch.optim import Optimizer

from slt_cache.config import OptimizerConfig
from slt_cache.errors import SltCacheError
from slt_cache.models.sign_translator import token_loss
from slt_cache.processes import leads, rank, size, summed
from slt_cache.training.bar import EpochBar, Pace
from slt_cache.training.diagnostics import norms
from slt_cache.training.interrupts import Interrupts
from slt_cache.training.metrics_log import MetricsLog
from slt_cache.training.state import Progress, TrainingState
from slt_cache.training.trackers import open_tracker

LOG_EVERY = 10
"""Updates between two lines of the metrics log."""


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
        """Logits [B, L, V]; `model` is `self.model` as the engine wrapped it."""
        ...

    def last_layers(self) -> dict[str, nn.Module]:
        """Of each module, to be watched."""
        ...

    @property
    def evaluate(self) -> Callable[[], dict[str, float]]:
        """Scores on dev; `bleu4` decides which weights are the best. Empty where there is no dev."""
        ...

    @property
    def save_best(self) -> Callable[[int, dict[str, float]], None]:
        """(epoch, dev scores): writes the weights of `self.model`."""
        ...

    def epoch_ended(self, epoch: int) -> None:
        """Called behind every epoch, on the leader alone, before the state is saved: what it writes is written again
        where a kill comes between."""
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
    save_seconds: float = 600.0
    """Between two savings of the state within an epoch; infinite where nothing is kept, on Ctrl-C neither."""
    diagnostics: bool = True
    """Whether norms of gradients and weights are logged."""
    tracker: str = "none"


@dataclass
class Clock:
    """The leader's, for all processes."""

    begun: float
    """When training would have begun, had it not been interrupted."""
    saved: float
    """When the state was last saved in the middle of an epoch or behind it."""

    def mine(self) -> float:
        """Seconds since the beginning for the leader, 0 for others: to be summed."""
        return time.monotonic() - self.begun if leads() else 0.0

    def seconds(self) -> float:
        return summed([self.mine()])[0]

    def due(self, every: float) -> bool:
        return leads() and time.monotonic() - self.saved >= every


@dataclass(frozen=True)
class Group:
    """This process's share of the batches of an update, and what all processes have agreed on."""

    batches: list[Any]
    tokens: int
    """Target tokens of all processes."""
    seconds: float
    """On the leader's clock."""
    save: bool


@dataclass(frozen=True)
class Update:
    """Of the weights, once."""

    loss: float
    """Mean of its target tokens."""
    tokens: int
    norms: dict[str, float]


def train(task: Task, engine: Engine) -> Progress:
    """Trains `task.model` and keeps its best weights; goes on from `last/` where an earlier run left off.

    Raises SltCacheError on a loss that is not finite, naming the clips of the batch; KeyboardInterrupt on Ctrl-C and
    SIGTERM, once the state is saved."""
    mixed = "no" if engine.precision == "fp32" else engine.precision
    accelerator = Accelerator(cpu=engine.device.type == "cpu", mixed_precision=mixed)
    model, optimizer = accelerator.prepare(task.model, task.optimizer())
    peaks = [group["lr"] for group in optimizer.param_groups]
    state = TrainingState(engine.folder / "last", task.model, optimizer, accelerator.scaler, engine.device)
    progress = state.progress
    tracker = open_tracker(engine.tracker, engine.folder, task.name, progress.step) if leads() else None
    log = MetricsLog(engine.folder / "metrics.jsonl", progress, tracker)
    if progress.step:
        log.say(f"{task.name}: goes on {_place(task, progress)}")
    watched = task.last_layers() if engine.diagnostics else {}
    updates = math.ceil(task.batches_an_epoch / engine.settings.accumulate)
    pace = Pace(progress.step)
    clock = Clock(time.monotonic() - progress.seconds, time.monotonic())
    with closing(log), Interrupts(deferred=size() > 1) as interrupts:
        try:
            while progress.batch or not _finished(engine, progress):
                epoch = progress.epoch + 1
                torch.manual_seed(engine.seed * 1_000_003 + epoch + rank() * 15_485_863)
                model.train()
                done = math.ceil(progress.batch / engine.settings.accumulate)
                with closing(EpochBar(f"{task.name} epoch {epoch}", task.unit, updates, done)) as bar:
                    for group in _groups(task, engine, state, interrupts, clock):
                        progress.seconds = group.seconds
                        if engine.max_seconds is not None and progress.seconds >= engine.max_seconds:
                            break
                        _set_learning_rates(optimizer, peaks, _learning_rate_factor(engine, updates, progress))
                        with interrupts.held():
                            logged = (progress.step + 1) % LOG_EVERY == 0
                            update = _update(
                                task, engine, accelerator, model, optimizer, group, watched if logged else {}
                            )
                            progress.updated(len(group.batches), update.loss, update.tokens)
                            state.remember_random()
                            if logged:
                                log.step(progress, update.loss, optimizer.param_groups[0]["lr"], update.norms)
                            if group.save:
                                state.save()
                                clock.saved = time.monotonic()
                        units = sum(batch.size for batch in group.batches) * size()
                        bar.update(update.loss, units, progress.dev, _left(engine, pace, updates, progress))
                progress.seconds = clock.seconds()  # whether this epoch is the last one decides on its scores
                scores = _evaluate(task, engine, accelerator, progress, interrupts)
                with interrupts.held():
                    progress.seconds = clock.seconds()
                    log.epoch(task.name, progress, scores, _left(engine, pace, updates, progress))
                    if leads():
                        task.epoch_ended(epoch)
                    progress.end_epoch()
                    state.save()
                    clock.saved = time.monotonic()
                _stop_together(interrupts)
        except KeyboardInterrupt:
            if engine.save_seconds < math.inf:
                progress.seconds = time.monotonic() - clock.begun
                state.save()
                log.say(f"{task.name}: interrupted {_place(task, progress)}; saved in {state.path.parent}")
            raise
    return progress


def _place(task: Task, progress: Progress) -> str:
    if progress.batch:
        return f"in epoch {progress.epoch + 1}, after {progress.batch} of {task.batches_an_epoch} batches"
    return f"after epoch {progress.epoch}"


def _groups(task: Task, engine: Engine, state: TrainingState, interrupts: Interrupts, clock: Clock) -> Iterator[Group]:
    """The batches of each update, from where the epoch stands."""
    resumed = state.progress.batch > 0
    batches = iter(task.batches(state.progress.epoch + 1, state.progress.batch))
    while True:
        loaded, error = _load(batches, engine, interrupts)
        if not loaded and error is None:
            return  # behind the same batch in all processes
        stop = interrupts.asked or isinstance(error, KeyboardInterrupt)
        agreed = [sum(batch.targets.tokens for batch in loaded), clock.mine(), clock.due(engine.save_seconds), stop]
        with interrupts.held() if size() > 1 else nullcontext():
            tokens, seconds, save, stopping = summed(agreed, error if isinstance(error, Exception) else None)
        if stopping:
            interrupts.stop()
        if resumed:
            state.restore_random()  # not before: a loader draws when it begins, as it did at the epoch's beginning
            resumed = False
        yield Group(loaded, int(tokens), seconds, bool(save))


def _load(batches: Iterator[Any], engine: Engine, interrupts: Interrupts) -> tuple[list[Any], BaseException | None]:
    """The next batches; none at the end of the epoch. One of several processes does not fail or stop alone: what
    happens to it is returned."""
    try:
        with interrupts.giving_way():
            return list(islice(batches, engine.settings.accumulate)), None
    except (SltCacheError, RuntimeError, KeyboardInterrupt) as error:
        if size() == 1:
            raise
        return [], error


def _stop_together(interrupts: Interrupts) -> None:
    """Behind an epoch, where any of several processes has been asked to stop."""
    if size() > 1 and summed([interrupts.asked])[0]:
        interrupts.stop()


def _out_of_epochs(engine: Engine, epoch: int, seconds: float) -> bool:
    """Whether the epochs, of which so many are done, or the seconds are used up."""
    if engine.max_seconds is not None:
        return seconds >= engine.max_seconds
    return epoch >= engine.settings.epochs


def _finished(engine: Engine, progress: Progress) -> bool:
    """Whether the epochs (or the seconds) are used up, or dev has not improved for too long."""
    patience = engine.settings.patience
    stale = progress.epoch - progress.best_epoch
    early = patience is not None and bool(progress.dev) and stale >= patience * engine.evaluate_every
    return early or _out_of_epochs(engine, progress.epoch, progress.seconds)


def _left(engine: Engine, pace: Pace, updates: int, progress: Progress) -> float | None:
    """Seconds until training ends, if it does not end early."""
    if engine.max_seconds is not None:
        return max(engine.max_seconds - progress.seconds, 0.0)
    return pace.left(progress.step, updates * engine.settings.epochs)


def _update(
    task: Task,
    engine: Engine,
    accelerator: Accelerator,
    model: nn.Module,
    optimizer: Optimizer,
    group: Group,
    watched: Mapping[str, nn.Module],
) -> Update:
    """One update of the weights by the mean loss of the target tokens of all batches of the group, over all processes:
    each batch counts for as much as it has tokens, as if it were one large batch."""
    total = 0.0
    model.zero_grad()  # also what no optimizer steps: clipping looks at every gradient
    for number, batch in enumerate(group.batches, 1):
        batch = batch.to(engine.device)
        summing = number < len(group.batches) and size() > 1
        with accelerator.no_sync(model) if summing else nullcontext():
            with accelerator.autocast():
                logits = task.logits(model, batch)
            # What several processes have found is averaged, and not summed, by DistributedDataParallel.
            loss = token_loss(logits, batch.targets.labels, engine.settings.label_smoothing) / (group.tokens / size())
            total += summed([loss.item() / size()], _not_finite(task, batch, loss))[0]
            accelerator.backward(loss)
    found = norms(watched, 1.0 if accelerator.scaler is None else accelerator.scaler.get_scale())
    if engine.settings.clip_norm is not None:
        accelerator.clip_grad_norm_(model.parameters(), engine.settings.clip_norm)
    optimizer.step()
    return Update(total, group.tokens, found)


def _not_finite(task: Task, batch: Any, loss: torch.Tensor) -> SltCacheError | None:
    if torch.isfinite(loss):
        return None
    return SltCacheError(
        f"{task.name}: the loss became {loss.item()} on the clips {', '.join(batch.ids)}. "
        "Lower the learning rate, set clip_norm, or look at these clips."
    )


def _evaluate(
    task: Task, engine: Engine, accelerator: Accelerator, progress: Progress, interrupts: Interrupts
) -> dict[str, float]:
    """Scores dev where it is due behind the epoch that has begun, and keeps the weights if they are the best so far."""
    epoch = progress.epoch + 1
    if epoch % engine.evaluate_every and not _out_of_epochs(engine, epoch, progress.seconds):
        return {}
    task.model.eval()
    held = interrupts.held() if size() > 1 else nullcontext()
    with held, torch.no_grad(), accelerator.autocast():
        scores = task.evaluate()
    if progress.better(scores):
        with interrupts.held():  # killed behind this, a resumed run finds the same scores, and the same weights saved
            if leads():
                task.save_best(epoch, scores)
            progress.best_epoch, progress.dev = epoch, scores
    return scores


def _learning_rate_factor(engine: Engine, updates_an_epoch: int, progress: Progress) -> float:
    """Linear warm-up to 1, then a cosine to 0 (method.md: cosine annealing)."""
    warmup = engine.settings.warmup_steps
    if progress.step < warmup:
        return (progress.step + 1) / (warmup + 1)
    if engine.max_seconds is not None:
        done = progress.seconds / engine.max_seconds
    else:
        steps = updates_an_epoch * engine.settings.epochs
        done = (progress.step - warmup) / max(steps - warmup, 1)
    return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def _set_learning_rates(optimizer: Optimizer, peaks: list[float], factor: float) -> None:
    for group, peak in zip(optimizer.param_groups, peaks, strict=True):
        group["lr"] = peak * factor
