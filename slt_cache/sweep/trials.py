"""Trials of a sweep, each a training of stage 2 in a run folder of its own; one that a killed process left resumes."""

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from optuna.trial import TrialState

from slt_cache.checkpoints.record import read_record
from slt_cache.errors import InputError
from slt_cache.locks import exclusive
from slt_cache.pipeline.train_llm import train_llm
from slt_cache.progress import log
from slt_cache.runs.run import Run
from slt_cache.runs.unfinished import BEST, Unfinished, discard, metrics_file
from slt_cache.sweep.request import Sweep
from slt_cache.sweep.space import first_values, outside, settings_of
from slt_cache.sweep.study import claimed, lock_of, open_study, proposed
from slt_cache.training.logs import read_metrics
from slt_cache.training.state import STATE_FILE
from slt_cache.training.step import NotFinite

SECONDS, ERROR = "seconds", "error"
"""Attributes of a trial in the storage: how long processes worked on it, and why it failed."""
MOST_FAILURES = 3
"""Trials that fail one after the other before a sweep gives up."""
BEST_FEW = 3
"""Best trials, which are repeated over seeds."""
UNFIT = (InputError, NotFinite, MemoryError, torch.OutOfMemoryError)
"""Errors that are due to the settings of a trial."""


class Pruned(Exception):
    """Ends a training whose dev score is below the median of finished trials."""


def run_trials(sweep: Sweep, trials: int) -> Any:
    """Trains until there are this many trials, those of other processes included; returns the study. Raises the error
    of a trial after several failed in a row."""
    study = open_study(sweep.folder, sweep.metric, sweep.run.config.llm_training.epochs)
    first, failures = first_values(sweep.space, sweep.run.config), 0
    if first is None:
        own = ", ".join(outside(sweep.space, sweep.run.config))
        log(f"the run's own settings are not tried, since they are outside of the search space: {own}")
    while True:
        with claimed(study, sweep.folder, sweep.seed, trials, first) as trial:
            if trial is None:
                return study
            error = _run_trial(sweep, study, trial, trials)
        failures = 0 if error is None else failures + 1
        if error is not None and failures == MOST_FAILURES:
            raise error


def _run_trial(sweep: Sweep, study: Any, trial: Any, trials: int) -> Exception | None:
    """Trains a trial to its end and tells the study; returns the error of one whose settings do not work."""
    values = settings_of(sweep.space, proposed(trial, sweep.space))
    log(f"trial {trial.number} (of {trials}): {', '.join(f'{name}={value}' for name, value in values.items())}")
    watch = _Watch(study, trial, sweep.metric.key)
    try:
        run, caches = sweep.trial(str(trial.number), values)
        watch.catch_up(run)
        record = train_llm(run, caches, watch=watch)
    except Pruned:
        _discard_weights(run)
        study.tell(trial, state=TrialState.PRUNED)
        log(f"trial {trial.number}: pruned after {watch.text}")
        return None
    except UNFIT as error:
        trial.set_user_attr(ERROR, " ".join(str(error).split())[:500])
        study.tell(trial, state=TrialState.FAIL)
        log(f"trial {trial.number}: failed: {error}")
        return error
    watch.save_seconds()
    value = (record.dev or {})[sweep.metric.key]
    study.tell(trial, value)
    log(f"trial {trial.number}: dev {sweep.metric.label} {value:.2f}, after {watch.text}")
    return None


class _Watch:
    """Tells the study the dev score of each evaluation, and ends a training that is to be pruned."""

    def __init__(self, study: Any, trial: Any, key: str):
        self._trial, self._key = trial, key
        known = study.get_trials(deepcopy=False)[trial.number]
        self._reported = set(known.intermediate_values)
        self._before = known.user_attrs.get(SECONDS, 0.0)
        self._begun = time.monotonic()

    def __call__(self, epoch: int, scores: Mapping[str, float]) -> None:
        self._report(epoch, scores)
        self.save_seconds()
        if self._trial.should_prune():
            raise Pruned

    def catch_up(self, run: Run) -> None:
        """Reports the evaluations that a killed process did not."""
        lines = [line for line in read_metrics(metrics_file(run.trained_by("train-llm"))) if line.get("dev")]
        for line in lines:
            self._report(line["epoch"], line["dev"])

    def _report(self, epoch: int, scores: Mapping[str, float]) -> None:
        if epoch not in self._reported:
            self._trial.report(scores[self._key], epoch)
            self._reported.add(epoch)

    def save_seconds(self) -> None:
        self._trial.set_user_attr(SECONDS, self._before + time.monotonic() - self._begun)

    @property
    def text(self) -> str:
        return f"{max(self._reported, default=0)} epochs, {self._before + time.monotonic() - self._begun:.0f} s"


def _discard_weights(run: Run) -> None:
    """Deletes state and weights of a pruned trial, which may be large; its settings and metrics stay."""
    unfinished = Unfinished(run.trained_by("train-llm"))
    for path in (unfinished.last / STATE_FILE, unfinished.best):
        discard(path)


@dataclass(frozen=True)
class Repetition:
    """A trial trained once more, with another seed."""

    number: int
    seed: int
    settings: Mapping[str, Any]
    """Settings of the trial."""

    @property
    def name(self) -> str:
        return f"{self.number}-seed{self.seed}"


def complete_trials(sweep: Sweep, study: Any) -> list[Any]:
    """Returns the complete trials, optuna.FrozenTrial, the best first."""
    found: list[Any] = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    sign = 1 if sweep.metric.lower_is_better else -1
    return sorted(found, key=lambda trial: (sign * trial.value, trial.number))


def repetitions(sweep: Sweep, study: Any, seeds: int) -> list[Repetition]:
    """Returns the further trainings of the best trials, so that each has this many seeds, with that of the sweep."""
    return [
        Repetition(trial.number, sweep.seed + more, settings_of(sweep.space, trial.params))
        for trial in complete_trials(sweep, study)[:BEST_FEW]
        for more in range(1, seeds)
    ]


def repeat(sweep: Sweep, repetition: Repetition) -> bool:
    """Trains a repetition; returns False, at once, if another process does."""
    run, caches = sweep.trial(repetition.name, {**repetition.settings, "llm_training.seed": repetition.seed})
    with ExitStack() as held:
        try:
            held.enter_context(exclusive(lock_of(sweep.folder, repetition.name), str(run.folder)))
        except InputError:
            return False
        log(f"trial {repetition.number} again, with seed {repetition.seed}")
        train_llm(run, caches)
        return True


def value_of_run(sweep: Sweep, run: Run) -> float | None:
    """Returns the dev score of a finished training; None for any other."""
    record = read_record(run.trained_by("train-llm") / BEST)
    return None if record is None or not record.finished or record.dev is None else record.dev[sweep.metric.key]
