"""Training loop of both stages and of the LLM's pre-training; what differs between them is passed in as a `Task`.

Everything random in an epoch follows from (seed, epoch) and the preceding steps. The state is saved after every epoch,
periodically within one, and on Ctrl-C or SIGTERM: a killed run resumes from there and, on a deterministic device, ends
where an uninterrupted one does.

Several processes (torchrun) share every batch and do what one alone would; the main process saves and logs."""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import replace

import torch

from slt_cache.batches.worker_errors import LoaderFailed, loader_failure
from slt_cache.config import OptimizerConfig
from slt_cache.device import peak_memory
from slt_cache.distributed.processes import is_main_process, rank, size, stopping_together
from slt_cache.training.averages import AveragedWeights
from slt_cache.training.logs import METRICS_FILE, MetricsLog
from slt_cache.training.progress_bar import EpochBar, loss_text
from slt_cache.training.schedule import Schedule
from slt_cache.training.signals import Interrupts
from slt_cache.training.state import TrainerState, TrainingState
from slt_cache.training.step import StepResult, TrainStep
from slt_cache.training.sync import Clock, MicroBatches, groups, stop_together
from slt_cache.training.task import Task, TrainerOptions
from slt_cache.training.trackers import open_tracker

LOG_EVERY = 10
"""Optimizer steps between two lines of the metrics log."""


def train(task: Task, options: TrainerOptions) -> TrainerState:
    """Trains `task.model` and keeps its best weights; resumes from `last/` if an earlier run was interrupted.

    Raises SltCacheError on a loss that is not finite, naming the clips of the batch; KeyboardInterrupt on Ctrl-C and
    SIGTERM, after saving the state."""
    train_step = TrainStep(task, options)
    averages = AveragedWeights(task.model, options.settings.ema) if options.settings.ema else None
    state = TrainingState(options.last, task.model, train_step.optimizer, train_step.scaler, options.device, averages)
    tracker = open_tracker(options.tracker, options, task.name, state.progress.step) if is_main_process() else None
    log = MetricsLog(options.last / METRICS_FILE, options.metric, state.progress, tracker)
    with closing(log), Interrupts(deferred=size() > 1) as interrupts:
        _Training(task, options, train_step, state, log, interrupts).run()
    return state.progress


class _Training:
    """Run of the training loop from a state to the end or an interruption."""

    def __init__(
        self,
        task: Task,
        options: TrainerOptions,
        train_step: TrainStep,
        state: TrainingState,
        log: MetricsLog,
        interrupts: Interrupts,
    ):
        self.task = task
        self.options = options
        self.train_step = train_step
        self.state = state
        self.progress = state.progress
        self.log = log
        self.interrupts = interrupts
        self.schedule = Schedule(options, task.batches_an_epoch, state.progress)
        self.clock = Clock.running(state.progress.seconds)
        self.watched = task.last_layers() if options.diagnostics else {}

    def run(self) -> None:
        if self.progress.step:
            self.log.log(f"{self.task.name}: resumes {self._place()}{self._other_processes()}{self._other_threads()}")
        if self.options.before is not None:
            self._log_schedule(self.options.before)
        try:
            if self.progress.dev_sha256 != self.options.dev_sha256:
                self._rescore_best()
            with self.interrupts.giving_way():
                while self.progress.batch or not self.schedule.finished(self.progress):
                    self._train_epoch()
                    scores = self._evaluate()
                    with self.interrupts.held():
                        self._end_epoch(scores)
                    stop_together(self.interrupts)
        except KeyboardInterrupt:
            self._save_interrupted()
            raise
        except (RuntimeError, MemoryError) as error:
            failure = loader_failure(error)
            if failure is None:
                raise
            self._save_after_loader_failure(failure)
        if self.progress.epoch < self.options.settings.epochs:
            self._log_out_of_patience()

    def _log_schedule(self, before: OptimizerConfig) -> None:
        """Logs how many epochs there are now, and how the learning rate changes."""
        progress, settings = self.progress, self.options.settings
        old = Schedule(replace(self.options, settings=before), self.task.batches_an_epoch, progress)
        last = replace(progress, step=max(progress.step - 1, 0))
        was, now = old.lr_factor(last), self.schedule.lr_factor(progress)
        self.log.log(
            f"{self.task.name}: {settings.epochs} epochs instead of {before.epochs}. The learning rate follows the "
            f"cosine of {settings.epochs} epochs from here on: it was {settings.lr * was:.2g} ({was:.1%} of its peak) "
            f"in the last update, is {settings.lr * now:.2g} ({now:.1%}) in the next, and falls to 0 at the end"
        )
        smoothed, smooths = old.label_smoothing(last), self.schedule.label_smoothing(progress)
        if smoothed != smooths:
            self.log.log(
                f"{self.task.name}: label smoothing follows the line over {settings.epochs} epochs: it was "
                f"{smoothed:.3g} in the last update, and is {smooths:.3g} in the next"
            )

    def _rescore_best(self) -> None:
        """Scores the best weights on the present dev split, if another one, or none, selected them; they stay the best
        until others score higher on it."""
        progress, name = self.progress, self.task.name
        before, progress.dev_sha256 = progress.dev, self.options.dev_sha256
        if not before:
            return
        if self.options.dev_sha256 is None:
            progress.dev = {}
            self.log.log(f"{name}: the dev split is gone; the last weights will be kept, not the best")
            return
        with self.interrupts.held():
            progress.dev = self.options.score_best()
        metric = self.options.metric
        self.log.log(
            f"{name}: dev has changed since epoch {progress.best_epoch} became the best: {metric.label} "
            f"{before[metric.key]:.2f} then, {progress.dev[metric.key]:.2f} now. Earlier epochs cannot be "
            "scored again; from now on the present dev split decides"
        )

    def _log_out_of_patience(self) -> None:
        progress, settings, metric = self.progress, self.options.settings, self.options.metric
        self.log.log(
            f"{self.task.name}: stops early after epoch {progress.epoch} of {settings.epochs}: no better dev "
            f"{metric.label} than {progress.dev[metric.key]:.2f} (epoch {progress.best_epoch}) in {settings.patience} "
            f"evaluations (patience {settings.patience}; null trains all epochs)"
        )

    def _train_epoch(self) -> None:
        """Trains on the remaining batches of the current epoch."""
        task, progress, schedule = self.task, self.progress, self.schedule
        epoch = progress.epoch + 1
        torch.manual_seed(self.options.seed * 1_000_003 + epoch + rank() * 15_485_863)
        self.train_step.model.train()
        done = math.ceil(progress.batch / self.options.settings.accumulate)
        with closing(
            EpochBar(f"{task.name} epoch {epoch}", task.unit, self.options.metric, schedule.updates, done)
        ) as bar:
            for group in groups(task, self.options, self.state, self.interrupts, self.clock):
                progress.seconds = self.clock.seconds()
                self.train_step.set_lr(schedule.lr_factor(progress))
                self.train_step.label_smoothing = schedule.label_smoothing(progress)
                with self.interrupts.held():
                    update = self._update(group)
                bar.update(loss_text(update.loss, update.terms), group.units, progress.dev, schedule.left(progress))

    def _update(self, group: MicroBatches) -> StepResult:
        """Takes one optimizer step and records it."""
        logged = (self.progress.step + 1) % LOG_EVERY == 0
        update = self.train_step(group, self.watched if logged else {})
        self.progress.updated(len(group.batches), update.loss, update.tokens, update.terms)
        self.state.remember_random()
        if self.state.averages is not None:
            self.state.averages.update(self.progress.step)
        if logged:
            self.log.step(self.progress, update.loss, self.train_step.lr, update.norms, update.terms)
        if group.save:
            self._save_state()
        return update

    def _evaluate(self) -> dict[str, float]:
        """Evaluates on dev if due after the current epoch, and keeps the weights if they are the best."""
        if not self.schedule.dev_is_due(self.progress):
            return {}
        with self._averaged(self.interrupts.held):
            return self._scored()

    @contextmanager
    def _averaged(self, held: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
        """Gives the model its averaged weights, if there are any, in a block; `held` protects their exchange."""
        averages = self.state.averages
        if averages is None:
            yield
            return
        try:
            with held():
                averages.exchange()
            yield
        finally:
            with held():
                if averages.in_place:
                    averages.exchange()

    def _scored(self) -> dict[str, float]:
        """Scores the weights on dev, and keeps them if they are the best."""
        self.task.model.eval()
        held = self.interrupts.held() if size() > 1 else nullcontext()
        with held, stopping_together(lambda: self.interrupts.asked), torch.no_grad(), self.train_step.autocast():
            scores = self.task.evaluate()
        if self.progress.better(scores, self.options.metric):
            # If killed after this, a resumed run finds the same scores and weights.
            with self.interrupts.held():
                epoch = self.progress.epoch + 1
                if is_main_process():
                    self.task.save_best(epoch, scores)
                self.progress.best_epoch, self.progress.dev = epoch, scores
        return scores

    def _end_epoch(self, scores: dict[str, float]) -> None:
        self.progress.seconds = self.clock.seconds()
        measured = self.options.measured() if scores else {}
        self.log.epoch(self.task.name, self.progress, scores, self.schedule.left(self.progress), measured)
        if is_main_process():
            with self._averaged(nullcontext):
                self.task.epoch_ended(self.progress.epoch + 1)
        self.progress.end_epoch()
        self._save_state()
        if scores:
            self.options.evaluated(self.progress.epoch, scores)

    def _save_state(self) -> None:
        self.progress.memory_bytes = max(self.progress.memory_bytes, peak_memory(self.options.device))
        self.state.save()
        if is_main_process():
            self.options.state_saved()
        self.clock.state_is_saved()

    def _save_interrupted(self) -> None:
        if self.options.save_seconds == math.inf:
            return
        if not self.progress.step:
            self.log.log(f"{self.task.name}: interrupted before the first step; nothing to save")
            return
        self.progress.seconds = self.clock.seconds()
        self._save_state()
        self.log.log(f"{self.task.name}: interrupted {self._place()}; saved in {self.state.path.parent}")

    def _save_after_loader_failure(self, failure: LoaderFailed) -> None:
        """Saves the state, which is intact, after a data loader failed. With several processes the others wait
        elsewhere, so the last saved state must do."""
        self.interrupts.leave_children()
        if size() == 1:
            self._save_interrupted()
        raise failure

    def _other_processes(self) -> str:
        before = self.state.processes
        if before == size():
            return ""
        return f"; processes: {size()} instead of {before}, so rounding and dropout masks will differ"

    def _other_threads(self) -> str:
        before, now = self.state.threads, torch.get_num_threads()
        if before == now or self.options.device.type != "cpu":
            return ""
        return (
            f"; threads: {now} instead of {before}, so rounding will differ from an "
            f"uninterrupted training (OMP_NUM_THREADS={before} avoids this)"
        )

    def _place(self) -> str:
        progress = self.progress
        if progress.batch:
            return f"in epoch {progress.epoch + 1}, after {progress.batch} of {self.task.batches_an_epoch} batches"
        return f"after epoch {progress.epoch}"
