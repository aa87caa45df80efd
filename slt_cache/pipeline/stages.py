"""One training as a step of the pipeline: finished already, to be resumed, or to be started."""

from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from slt_cache.checkpoints.named_files import named_files
from slt_cache.checkpoints.record import OtherSettings, Record, read_record, require_same, save_record
from slt_cache.config import LlmTrainingConfig, OptimizerConfig, VisualTrainingConfig, differences
from slt_cache.device import pick_device
from slt_cache.distributed.processes import barrier, is_main_process, size
from slt_cache.errors import InputError, SltCacheError
from slt_cache.locks import exclusive, require_writable
from slt_cache.progress import log
from slt_cache.runs.run import Run
from slt_cache.runs.scoring import choices_of, preset_of
from slt_cache.runs.unfinished import BEST, Unfinished
from slt_cache.training.loop import train
from slt_cache.training.state import TrainerState
from slt_cache.training.task import Task, TrainerOptions
from slt_cache.training.trackers import require_tracker

RecordOf = Callable[[int, dict[str, float]], Record]
"""(epoch, dev scores) -> the record to be saved with the weights of that epoch."""


@dataclass(frozen=True)
class Stage:
    """One training of a run: what is known of it before it starts, and how its weights are scored in the end."""

    name: str
    folder: Path
    command: str
    """Trains it."""
    settings: dict[str, Any]
    """Everything that decides the weights."""
    beams: int = 1
    """Beams of the final scoring on dev."""
    dev_sha256: str | None = None
    """Identity of the dev split, which decides what weights are kept, but none of them; None without dev."""
    score: Callable[[Path, int], dict[str, float]] = lambda best, beams: {}
    """Scores the weights in a folder on dev, with so many beams."""
    save_record: Callable[[Path, Record], None] = save_record
    """Replaces the record of the weights in a folder."""
    describe: Callable[[Path], None] = lambda folder: None
    """Writes into a folder what is to be known of the training data later."""
    explain: Callable[[Path], str] = lambda folder: ""
    """Says how the data differ from those described in a folder."""
    keep: Callable[[], None] = lambda: None
    """Puts what was made for the training in its place, once nothing can be refused any more."""


@dataclass(frozen=True)
class Attempt:
    """A training that is about to start or to be resumed."""

    stage: Stage
    begin: Callable[[], None]
    """Called once all input has been read: until then nothing on disk has changed."""
    state_saved: Callable[[], None]

    @property
    def best(self) -> Path:
        """Folder of the best weights so far."""
        return Unfinished(self.stage.folder).best


def training_stage(stage: Stage, restart: bool, work: Callable[[Attempt], TrainerState]) -> Record:
    """Trains into `stage.folder/best`, unless a training with the same settings is finished there already.

    `work` trains, and saves the best weights in `Attempt.best`; they take the place of an earlier result once all of
    the training is done. Raises InputError if the folder holds a training with other settings, or if another process
    is training there. Of several processes all do the work, and the leader writes."""
    if not restart and (done := _finished(stage)) is not None:
        return _with_dev_of_now(stage, done)
    try:
        with exclusive(stage.folder / "lock", str(stage.folder)) if is_main_process() else nullcontext():
            return _under_lock(stage, restart, work)
    finally:
        if is_main_process():
            with suppress(OSError):
                stage.folder.rmdir()  # of a failed start: there is nothing in it


def _under_lock(stage: Stage, restart: bool, work: Callable[[Attempt], TrainerState]) -> Record:
    unfinished = Unfinished(stage.folder)
    if is_main_process():
        unfinished.settle()
    barrier()
    if not restart and (done := _finished(stage)) is not None:
        return done  # by a run that had the lock until now, or was killed when all but the last renames were done
    begun = None if restart else unfinished.record
    if begun is not None:
        _require_same(stage, begun, unfinished.last)
    barrier()  # all have read what there was
    return _train(stage, unfinished, begun is not None, work)


def _train(stage: Stage, unfinished: Unfinished, resumed: bool, work: Callable[[Attempt], TrainerState]) -> Record:
    def begin() -> None:
        barrier()
        if is_main_process():
            stage.keep()
            if not resumed:
                unfinished.begin(Record(stage.name, stage.settings))
                stage.describe(unfinished.last)
        barrier()

    try:
        progress = work(Attempt(stage, begin, unfinished.state_saved))
    except BaseException:
        if is_main_process() and not resumed:
            unfinished.give_up()
        raise
    barrier()
    best = read_record(unfinished.best)
    if best is None:
        raise SltCacheError(
            f"{unfinished.last}: the training ended without weights. Start over: {stage.command} --restart"
        )
    finished = best.finish(progress.epoch, progress.seconds)
    barrier()
    if is_main_process():
        stage.save_record(unfinished.best, finished)  # a record of finished weights: they can be loaded and scored
    barrier()
    finished = with_final_dev(stage, unfinished.best, finished)
    if is_main_process():
        unfinished.finish(finished)
    barrier()
    return finished


def _finished(stage: Stage) -> Record | None:
    """The record of a finished training, unless a later one with the same settings can be resumed."""
    barrier()
    unfinished, done = Unfinished(stage.folder), read_record(stage.folder / BEST)
    begun = unfinished.record
    if done is None or unfinished.is_finished:
        return None
    if begun is not None and not differences(begun.settings, stage.settings):
        return None
    _require_same(stage, done, stage.folder)
    log(f"{stage.name}: trained already, kept in {stage.folder / BEST}; --restart trains again")
    if not done.dev and stage.dev_sha256 is not None:
        log(f"{stage.name}: there was no dev split then, so its last weights are kept, and not the best by dev")
    if begun is not None:
        log(f"{unfinished.last} holds an unfinished training with other settings: give these to resume it")
    barrier()
    if is_main_process():
        unfinished.tidy()
    return done


def _require_same(stage: Stage, made: Record, described: Path) -> None:
    """Raises InputError if a training was made with other settings or data. `described` is where its data are."""
    try:
        require_same(stage.folder, made, stage.settings, stage.command)
    except OtherSettings as error:
        data = "manifest_sha256"
        more = stage.explain(described) if made.settings.get(data) != stage.settings.get(data) else ""
        raise OtherSettings(f"{error} {more}".strip()) from None


def _with_dev_of_now(stage: Stage, done: Record) -> Record:
    """A finished training whose dev split or beams are others now has its scores renewed, if they can be saved."""
    best = stage.folder / BEST
    if _dev_is_scored(stage, done):
        return done
    try:
        require_writable(best)
    except InputError as error:
        log(f"{stage.name}: its dev scores are kept as they are, though dev or the beams have changed: {error}")
        return done
    # else a training that replaces the weights meanwhile would get the scores of the old ones
    with exclusive(stage.folder / "lock", str(stage.folder)) if is_main_process() else nullcontext():
        return with_final_dev(stage, best, read_record(best) or done)


def _dev_is_scored(stage: Stage, record: Record) -> bool:
    """Whether there is nothing to score, or the record has the scores of this dev split with these beams."""
    if not record.dev or stage.dev_sha256 is None:
        return True
    return record.dev_beams == stage.beams and record.dev_sha256 in (None, stage.dev_sha256)  # None: of 04acb8d


def with_final_dev(stage: Stage, folder: Path, record: Record) -> Record:
    """Scores the weights in `folder` on dev with the search that `eval` uses, unless that was done, and saves the
    scores in their record.

    During the training dev is searched with `generation.dev_beams`, which is quick and decides which weights are the
    best; the scores recorded in the end are comparable with those of `eval`. The metrics log keeps the others."""
    if _dev_is_scored(stage, record):
        return record
    if record.dev_sha256 not in (None, stage.dev_sha256):
        log(f"{stage.name}: dev has changed since it chose these weights, epoch {record.best_epoch}; they are kept")
    log(f"{stage.name}: scoring the best weights on dev with {stage.beams} beams")
    final = replace(record, dev=stage.score(folder, stage.beams), dev_beams=stage.beams, dev_sha256=stage.dev_sha256)
    if is_main_process():
        stage.save_record(folder, final)
    barrier()
    return final


def train_task(
    run: Run,
    settings: OptimizerConfig,
    attempt: Attempt,
    make_task: Callable[[torch.device, RecordOf], Task],
    evaluate_every: int,
) -> TrainerState:
    """Runs the loop on the task that `make_task(device, record_of)` builds.

    `record_of(epoch, dev)` is the record to be saved with the best weights of that epoch."""
    compute, stage = run.config.compute, attempt.stage
    device = require_resources(run, settings)

    def record_of(epoch: int, dev: dict[str, float]) -> Record:
        beams = run.config.generation.dev_beams if dev else None
        context = _context(run, scored=bool(dev))
        return Record(
            stage.name,
            stage.settings,
            best_epoch=epoch,
            dev=dev,
            dev_beams=beams,
            dev_sha256=stage.dev_sha256 if dev else None,
            context=context,
            threads=torch.get_num_threads(),
            named=named_files(run.config),
        )

    def score_best() -> dict[str, float]:
        """Of the best weights so far, whose record then names the dev split that there is now."""
        best = read_record(attempt.best)
        assert best is not None  # saved before the state that is resumed
        if is_main_process():
            stage.save_record(attempt.best, replace(best, finished=True))  # else it could not be loaded
        barrier()
        beams = run.config.generation.dev_beams
        again = replace(best, dev=stage.score(attempt.best, beams), dev_beams=beams, dev_sha256=stage.dev_sha256)
        if is_main_process():
            stage.save_record(attempt.best, again)
        barrier()
        return again.dev or {}

    def state_saved() -> None:
        attempt.state_saved()
        run.save_config(run.stage_in(stage.folder))  # what has trained can be resumed without naming it again

    torch.manual_seed(run.config.seed)
    task = make_task(device, record_of)
    _say_effective_batch(task.name, settings)
    if size() > 1 and compute.sync_batchnorm:
        from slt_cache.encoders.sync_batchnorm import sync_batch_norms  # wants a torch that was built for it

        sync_batch_norms(task.model)
    task.model.to(device)
    engine = TrainerOptions(
        settings,
        run.config.seed,
        evaluate_every,
        compute.precision,
        device,
        stage.folder,
        save_seconds=60 * compute.save_minutes,
        diagnostics=compute.diagnostics,
        tracker=compute.tracker,
        state_saved=state_saved,
        dev_sha256=stage.dev_sha256,
        score_best=score_best,
    )
    attempt.begin()
    return train(task, engine)


def require_resources(run: Run, settings: OptimizerConfig) -> torch.device:
    """Returns the device to train on. Raises InputError if this machine lacks the device, its precision or the
    tracker, or if several processes cannot share the batches: before hours are spent on what comes first."""
    compute = run.config.compute
    require_tracker(compute.tracker)
    _require_shares(run, settings)
    return pick_device(compute.device, compute.precision)


def _require_shares(run: Run, settings: OptimizerConfig) -> None:
    """Raises InputError where several processes cannot share the batches, or differ in how they would cut them up."""
    if settings.batch_size < size():
        raise InputError(
            f"batch_size {settings.batch_size}: it is shared by all {size()} processes, and some would get no clip. "
            "Start fewer, or take a larger batch."
        )
    if size() > 1 and run.config.compute.sync_batchnorm and run.config.encoder.chunk_frames is not None:
        raise InputError(
            f"encoder.chunk_frames with {size()} processes: they would wait for each other's statistics in different "
            "numbers of chunks. Set compute.sync_batchnorm=false, or encoder.chunk_frames=null."
        )


def _say_effective_batch(name: str, settings: OptimizerConfig) -> None:
    """Where it is not plain: over several processes or batches, or another than the paper's, which is the default of
    both stages; of pre-training and the control it tells nothing."""
    effective = settings.batch_size * settings.accumulate
    of_the_paper = isinstance(settings, VisualTrainingConfig | LlmTrainingConfig)
    recipe = type(settings).model_fields["batch_size"].default if of_the_paper else None
    if size() == 1 and settings.accumulate == 1 and recipe in (None, effective):
        return
    share = settings.batch_size / size()
    made = [f"{size()} processes x {share:g} clips"] if size() > 1 else []
    if settings.accumulate > 1:
        made.append(f"{settings.accumulate} batches" + ("" if made else f" of {settings.batch_size}"))
    how = f" ({', '.join(made)})" if made else ""
    paper = f"; the paper's is {recipe}" if recipe is not None else ""
    log(f"{name}: effective batch {effective}{how}{paper}")


def _context(run: Run, scored: bool) -> dict[str, Any]:
    """What is saved with weights beside what decided them."""
    config = run.config
    return {
        "corpus": config.corpus.name,
        "scoring": {"preset": preset_of(config), **asdict(choices_of(config))} if scored else {},
        "generation": config.generation.model_dump(mode="json", exclude={"batch_size"}),
    }
