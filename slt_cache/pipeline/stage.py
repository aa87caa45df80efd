"""One training as a step of the pipeline: done already, to be gone on with, or to be begun."""

import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from slt_cache.checkpoints.record import Record, read_record, require_same, write_record
from slt_cache.config import LlmTrainingConfig, OptimizerConfig, VisualTrainingConfig
from slt_cache.device import pick_device
from slt_cache.errors import InputError, SltCacheError
from slt_cache.files import TEMPORARY, exclusive
from slt_cache.pipeline.run import Run
from slt_cache.pipeline.scoring import choices_of, preset_of
from slt_cache.pipeline.terminal import say
from slt_cache.processes import leads, size, wait_for_all
from slt_cache.training.loop import train
from slt_cache.training.state import Progress
from slt_cache.training.task import Engine, Task
from slt_cache.training.trackers import require_tracker

RecordOf = Callable[[int, dict[str, float]], Record]
"""(epoch, dev scores) -> the record to be saved with the weights of that epoch."""


def training_stage(
    name: str,
    folder: Path,
    settings: dict[str, Any],
    command: str,
    restart: bool,
    work: Callable[[Record], Progress],
) -> Record:
    """Trains into `folder/best` unless that was done with the same settings already.

    `work` trains and saves the best weights with the record it is given. Raises InputError where the folder holds a
    training of other settings, or where another training writes it. Of several processes all do the work, and the
    leader writes."""
    if not restart and (done := _finished(name, folder, settings, command)) is not None:
        return done
    with exclusive(folder / "lock", str(folder)) if leads() else nullcontext():
        if not restart and (done := _finished(name, folder, settings, command)) is not None:
            return done  # by a run that had the lock until now
        if restart and leads():
            _discard(folder / "last")  # first: without its state, what lies in best/ is overwritten, not gone on with
            _discard(folder / "best")
        wait_for_all()
        begun = read_record(folder / "last")
        if begun is not None:
            require_same(folder, begun, settings, command)
        wait_for_all()  # all have read what there was
        if leads():
            write_record(folder / "last", Record(name, settings))
        progress = work(Record(name, settings))
        wait_for_all()
        best = read_record(folder / "best")
        if best is None:
            raise SltCacheError(f"{folder}: the training ended without weights. Train it anew: {command} --restart")
        finished = best.finish(progress.epoch, progress.seconds)
        wait_for_all()
        if leads():
            write_record(folder / "best", finished)
            _discard(folder / "last")
        wait_for_all()
    return finished


def _finished(name: str, folder: Path, settings: dict[str, Any], command: str) -> Record | None:
    """What an earlier run has trained to the end."""
    wait_for_all()
    done = read_record(folder / "best")
    if done is None or not done.finished:
        return None
    require_same(folder, done, settings, command)
    say(f"{name}: trained already, kept in {folder / 'best'}; --restart trains anew")
    wait_for_all()
    if leads():
        _discard(folder / "last")  # a kill may have left it
    return done


def _discard(folder: Path) -> None:
    """Gone in one step: half a folder that a kill leaves would pass for a whole one."""
    going = folder.with_name(f"{folder.name}.gone{TEMPORARY}")
    shutil.rmtree(going, ignore_errors=True)
    if folder.exists():
        folder.rename(going)
        shutil.rmtree(going, ignore_errors=True)


def train_task(
    run: Run,
    folder: Path,
    settings: OptimizerConfig,
    record: Record,
    make_task: Callable[[torch.device, RecordOf], Task],
    evaluate_every: int,
) -> Progress:
    """Runs the loop on the task that `make_task(device, record_of)` builds.

    `record_of(epoch, dev)` is the record to be saved with the best weights of that epoch."""
    compute = run.config.compute
    require_tracker(compute.tracker)
    _require_shares(run, settings)
    device = pick_device(compute.device, compute.precision)

    def record_of(epoch: int, dev: dict[str, float]) -> Record:
        beams = run.config.generation.dev_beams if dev else None
        context = _context(run, scored=bool(dev))
        return replace(record, best_epoch=epoch, dev=dev, dev_beams=beams, context=context)

    torch.manual_seed(run.config.seed)
    task = make_task(device, record_of)
    _say_effective_batch(task.name, settings)
    if size() > 1 and compute.sync_batchnorm:
        from slt_cache.models.shared_norms import share_batch_norms  # wants a torch that was built for it

        share_batch_norms(task.model)
    task.model.to(device)
    engine = Engine(
        settings,
        run.config.seed,
        evaluate_every,
        compute.precision,
        device,
        folder,
        save_seconds=60 * compute.save_minutes,
        diagnostics=compute.diagnostics,
        tracker=compute.tracker,
    )
    return train(task, engine)


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
    say(f"{name}: effective batch {effective}{how}{paper}")


def _context(run: Run, scored: bool) -> dict[str, Any]:
    """What is saved with weights beside what decided them."""
    config = run.config
    return {
        "corpus": config.corpus.name,
        "scoring": {"preset": preset_of(config), **asdict(choices_of(config))} if scored else {},
        "generation": config.generation.model_dump(mode="json", exclude={"batch_size"}),
    }
