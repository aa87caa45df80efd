"""Running of one training of a run: finished already, resumed, or started."""

from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from slt_cache.checkpoints.record import (
    OtherSettings,
    Record,
    different_settings,
    is_same_training,
    read_record,
    require_same,
    whole_record,
)
from slt_cache.device import reset_peak_memory
from slt_cache.distributed.processes import barrier, is_main_process, size
from slt_cache.errors import InputError, SltCacheError
from slt_cache.hashes import file_sha256
from slt_cache.locks import exclusive, require_writable
from slt_cache.metrics.video_gap import blindness, too_few_clips
from slt_cache.models.weights import parameters_of
from slt_cache.pipeline.final_dev import dev_is_scored, score_best_again, with_final_dev
from slt_cache.pipeline.longer import Shorter, advice, loop_before, shorter_of
from slt_cache.pipeline.resources import log_effective_batch, require_resources
from slt_cache.pipeline.stages import Stage
from slt_cache.pipeline.trained_clips import explain_change, write_clips
from slt_cache.progress import log, size_text
from slt_cache.runs.saved_settings import save_settings
from slt_cache.runs.unfinished import BEST
from slt_cache.training.loop import train
from slt_cache.training.objectives.model import bare
from slt_cache.training.state import STATE_FILE, TrainerState
from slt_cache.training.task import TrainerOptions

CLIPS = "manifest_sha256"
"""Setting of a training from video that identifies its clips."""


def run_stage(stage: Stage, restart: bool) -> Record:
    """Trains into `stage.folder/best`, unless a training with the same settings is finished; then saves the run's
    settings.

    The weights replace an earlier result once training is complete. Raises InputError if the folder holds a training
    with other settings, or another process is training there. All processes do the work, and the main process
    writes."""
    stage.hash_inputs()
    before = whole_record(stage.folder / BEST)
    record = _run(stage, restart)
    unsure = too_few_clips(record.video_gap)
    if said := unsure or blindness(record.video_gap, record.settings, stage.variant.llm):
        log(f"{stage.name}: {said}")
    save_settings(stage.run, stage.variant.makes, trained=not is_same_training(before, record))
    return record


def _run(stage: Stage, restart: bool) -> Record:
    if not restart and (done := _finished(stage)) is not None:
        return _with_dev_of_now(stage, done)
    try:
        with _lock(stage):
            return _under_lock(stage, restart)
    finally:
        if is_main_process():
            with suppress(OSError):
                stage.folder.rmdir()  # left empty by a failed start


def _lock(stage: Stage) -> AbstractContextManager[Any]:
    return exclusive(stage.folder / "lock", str(stage.folder)) if is_main_process() else nullcontext()


def _under_lock(stage: Stage, restart: bool) -> Record:
    if is_main_process():
        stage.unfinished.settle()
    barrier()
    if not restart and (done := _finished(stage)) is not None:
        return done  # by a run that just released the lock, or was killed before its last renames
    shorter = None if restart else shorter_of(stage)
    begun = None if restart or shorter is not None else stage.unfinished.record
    if begun is not None:
        _require_same(stage, begun, stage.unfinished.last)
    barrier()  # all have read the previous state
    return _train_and_score(stage, begun is not None or shorter is not None, shorter)


def _train_and_score(stage: Stage, resumed: bool, shorter: Shorter | None) -> Record:
    unfinished = stage.unfinished
    try:
        progress, parameters = _train(stage, resumed, shorter)
    except BaseException:
        if is_main_process() and not resumed:
            unfinished.give_up()
        raise
    barrier()
    best, own = read_record(unfinished.best), read_record(unfinished.last)
    if best is None or own is None:
        raise SltCacheError(
            f"{unfinished.last}: the training ended without weights. Start over: {stage.command} --restart"
        )
    state = unfinished.last / STATE_FILE
    finished = replace(
        best.finish(progress.epoch, progress.seconds),
        memory_bytes=progress.memory_bytes,
        parameters=parameters,
        continued=own.continued,
        state_sha256=file_sha256(state) if stage.keeps_state and state.is_file() else None,
    )
    barrier()
    if is_main_process():
        stage.save_record(unfinished.best, finished)  # a record of finished weights: they can be loaded and scored
    barrier()
    finished = with_final_dev(stage, unfinished.best, finished)
    if is_main_process():
        unfinished.finish(finished)
        _log_state(stage)
    barrier()
    return finished


def _log_state(stage: Stage) -> None:
    """Logs where the last state is kept, and its size."""
    state = stage.folder / STATE_FILE
    if state.is_file():
        log(
            f"{stage.name}: its last state is kept for --continue ({state}, {size_text(state.stat().st_size)}; "
            "compute.keep_state=false keeps none)"
        )


def _train(stage: Stage, resumed: bool, shorter: Shorter | None) -> tuple[TrainerState, dict[str, int]]:
    """Builds the task and runs the loop on it; also returns the number of parameters."""
    run = stage.run
    compute, device = run.config.compute, require_resources(run, stage.loop)
    torch.manual_seed(run.config.seed)
    task = stage.make_task(device)
    taken = [] if resumed else stage.initialize(bare(task.model))
    log_effective_batch(task.name, stage.loop)
    if size() > 1 and compute.sync_batchnorm:
        from slt_cache.encoders.sync_batchnorm import sync_batch_norms  # needs a torch built with distributed

        sync_batch_norms(task.model)
    task.model.to(device)
    options = TrainerOptions(
        stage.loop,
        run.config.seed,
        stage.evaluate_every,
        compute.precision,
        device,
        stage.folder,
        save_seconds=60 * compute.save_minutes,
        diagnostics=compute.diagnostics,
        tracker=compute.tracker,
        state_saved=partial(_state_saved, stage),
        dev_sha256=stage.dev_sha256,
        score_best=partial(score_best_again, stage),
        measured=lambda: stage.video_gap,
        evaluated=stage.evaluated,
        before=None if shorter is None else loop_before(stage, shorter),
    )
    _begin(stage, resumed, shorter)
    for line in taken:
        log(line)
    reset_peak_memory(device)
    return train(task, options), parameters_of(task.model)


def _begin(stage: Stage, resumed: bool, shorter: Shorter | None) -> None:
    """Prepares the folder once all input was read; until then nothing on disk has changed."""
    barrier()
    if is_main_process():
        stage.keep()
        if shorter is not None:
            named = {**shorter.record.named, **stage.named}
            stage.unfinished.lengthen(Record(stage.name, stage.settings, continued=shorter.continued, named=named))
        elif not resumed:
            stage.unfinished.begin(Record(stage.name, stage.settings, named=stage.named))
            if stage.train_clips:
                write_clips(stage.unfinished.last, stage.train_clips)
    barrier()


def _state_saved(stage: Stage) -> None:
    stage.unfinished.state_saved()
    save_settings(stage.run, stage.variant.makes)  # so that a training can be resumed without repeating its settings


def _finished(stage: Stage) -> Record | None:
    """Returns the record of a finished training, unless a later one with the same settings can be resumed."""
    barrier()
    unfinished, done = stage.unfinished, read_record(stage.folder / BEST)
    begun = unfinished.record
    if done is None or unfinished.is_finished:
        return None
    if begun is not None and not different_settings(begun, stage.settings):
        return None
    if shorter_of(stage) is not None:
        return None
    _require_same(stage, done, stage.folder)
    log(f"{stage.name}: trained already, kept in {stage.folder / BEST}; --restart trains again")
    if not done.dev and stage.dev_sha256 is not None:
        log(f"{stage.name}: trained without a dev split, so its last weights are kept, not the best")
    if begun is not None:
        log(f"{unfinished.last} holds an unfinished training with other settings; use those to resume it")
    barrier()
    if is_main_process():
        unfinished.tidy()
    return done


def _require_same(stage: Stage, made: Record, described: Path) -> None:
    """Raises InputError if a training was made with other settings or data; `described` is the folder of its data."""
    try:
        require_same(stage.folder, made, stage.settings, stage.command)
    except OtherSettings as error:
        is_of_clips = made.settings.get(CLIPS) == stage.settings.get(CLIPS)
        more = advice(stage, made) if is_of_clips else f" {explain_change(stage.run, described, stage.train_clips)}"
        raise OtherSettings(f"{error}{more}".strip()) from None


def _with_dev_of_now(stage: Stage, done: Record) -> Record:
    """Renews the dev scores of a finished training if its dev split or beams changed and the scores can be saved."""
    best = stage.folder / BEST
    if dev_is_scored(stage, done):
        return done
    try:
        require_writable(best)
    except InputError as error:
        log(f"{stage.name}: its dev scores are kept, although dev or the beams have changed: {error}")
        return done
    with _lock(stage):  # or a training that replaces the weights meanwhile would get the old ones' scores
        return with_final_dev(stage, best, read_record(best) or done)
