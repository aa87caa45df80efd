"""The search of a sweep by Optuna: TPE proposes settings, the median of finished trials prunes, a journal file in the
run folder remembers. Several processes, also on several machines, share the file. Trains nothing."""

import hashlib
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from slt_cache.errors import InputError
from slt_cache.locks import exclusive
from slt_cache.metrics.base import Metric
from slt_cache.sweep.space import Range, Space
from slt_cache.write_errors import write_errors

JOURNAL = "study.journal"
NAME = "sweep"
BEFORE_PRUNING = 5
"""Finished trials before others are pruned; the first ones are therefore complete."""
WARM_UP = 4
"""No trial is pruned in the first of this many parts of its epochs: small models begin with a BLEU-4 of 0."""
AT_RANDOM = 10
"""Trials at random before TPE learns from them (Optuna's default)."""
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)

optuna.logging.set_verbosity(optuna.logging.WARNING)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


class _JournalLock:
    """Lock of the journal, which the system releases however its holder ends; Optuna's own would stay."""

    def __init__(self, journal: Path):
        self._path = journal.with_suffix(".lock")
        self._held: AbstractContextManager[None] | None = None

    def acquire(self) -> bool:
        held = exclusive(self._path, str(self._path), waits=True)
        held.__enter__()
        self._held = held
        return True

    def release(self) -> None:
        if self._held is not None:
            self._held.__exit__(None, None, None)
            self._held = None


def open_study(folder: Path, metric: Metric, epochs: int) -> Any:
    """Opens the study in a folder, an optuna.Study, or begins it. Raises InputError for a damaged journal."""
    journal = folder / JOURNAL
    lock = _JournalLock(journal)
    with write_errors(journal):
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
        try:
            _mend(journal)
        finally:
            lock.release()
    backend: Any = JournalFileBackend
    try:
        with write_errors(journal):
            return optuna.create_study(
                storage=JournalStorage(backend(str(journal), lock_obj=lock)),
                study_name=NAME,
                direction="minimize" if metric.lower_is_better else "maximize",
                pruner=optuna.pruners.MedianPruner(BEFORE_PRUNING, max(1, epochs // WARM_UP)),
                load_if_exists=True,
            )
    except (ValueError, KeyError) as error:  # also of JSON
        raise InputError(f"{journal}: damaged ({error}). Restore a copy, or use another --name.") from error


def _mend(journal: Path) -> None:
    """Removes an incomplete last line, which a full disk or a kill left."""
    if not journal.is_file():
        return
    content = journal.read_bytes()
    if content and not content.endswith(b"\n"):
        with journal.open("rb+") as file:
            file.truncate(content.rfind(b"\n") + 1)


@contextmanager
def claimed(study: Any, folder: Path, seed: int, trials: int, first: Mapping[str, Any] | None) -> Iterator[Any]:
    """Yields a trial, an optuna.Trial, that no other process works on: one that a killed process left, else a new one;
    None once there are as many as wanted. The very first has the values `first`, if given."""
    with ExitStack() as held:
        with exclusive(folder / "claims.lock", str(folder), waits=True):
            trial = _left_behind(study, folder, held) or _new(study, folder, trials, first, held)
        if trial is not None:
            study.sampler = optuna.samplers.TPESampler(
                seed=_seed(seed, trial.number), n_startup_trials=AT_RANDOM, constant_liar=True
            )
        yield trial


def _left_behind(study: Any, folder: Path, held: ExitStack) -> Any:
    """Returns a trial whose process ended without finishing it, and removes locks of finished ones."""
    for frozen in study.get_trials(deepcopy=False, states=FINISHED):
        lock_of(folder, str(frozen.number)).unlink(missing_ok=True)
    for frozen in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        try:
            held.enter_context(exclusive(lock_of(folder, str(frozen.number)), str(folder)))
        except InputError:
            continue  # its process lives
        return optuna.trial.Trial(study, frozen._trial_id)
    return None


def _new(study: Any, folder: Path, trials: int, first: Mapping[str, Any] | None, held: ExitStack) -> Any:
    if len(study.get_trials(deepcopy=False)) == 0 and first is not None:
        study.enqueue_trial(dict(first))
    begun = study.get_trials(deepcopy=False, states=(TrialState.RUNNING, *FINISHED))
    if len(begun) >= trials:
        return None
    trial = study.ask()
    held.enter_context(exclusive(lock_of(folder, str(trial.number)), str(folder)))
    return trial


def lock_of(folder: Path, name: str) -> Path:
    """Returns the lock of a trial, or of one of its repetitions."""
    return folder / "trials" / f"{name}.lock"


def _seed(seed: int, number: int) -> int:
    """Returns the seed of a trial's proposals, so that they do not depend on which process asks, or how often."""
    return int.from_bytes(hashlib.sha256(f"{seed}\t{number}".encode()).digest()[:4], "big")


def proposed(trial: Any, space: Space) -> dict[str, Any]:
    """Returns the values of a trial as Optuna knows them, proposing those that it does not have yet."""
    params: dict[str, Any] = {}
    for name, searched in space.items():
        if not isinstance(searched, Range):
            params[name] = trial.suggest_categorical(name, list(searched.values))
        elif searched.whole:
            low, high, step = int(searched.low), int(searched.high), int(searched.step or 1)
            params[name] = trial.suggest_int(name, low, high, step=step, log=searched.log)
        else:
            params[name] = trial.suggest_float(name, searched.low, searched.high, step=searched.step, log=searched.log)
    return params


def importances(study: Any) -> dict[str, float]:
    """Returns what each setting was worth, as shares of 1 (PED-ANOVA, Watanabe et al. 2023: how much it mattered for
    reaching the best tenth of the complete trials); empty with fewer than four."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < 4 or len({trial.value for trial in complete}) == 1:
        return {}
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))
