"""One training as a step of the pipeline: done already, to be gone on with, or to be begun."""

import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from slt_cache.checkpoints.record import Record, read_record, require_same, write_record
from slt_cache.config import OptimizerConfig
from slt_cache.device import pick_device
from slt_cache.errors import SltCacheError
from slt_cache.files import TEMPORARY
from slt_cache.pipeline.run import Run
from slt_cache.pipeline.scoring import choices_of, preset_of
from slt_cache.pipeline.terminal import say
from slt_cache.training.loop import Engine, Progress, Task, train
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
    training of other settings."""
    if restart:
        _discard(folder / "last")  # first: without its state, what lies in best/ is overwritten, and not gone on with
        _discard(folder / "best")
    done = read_record(folder / "best")
    if done is not None and done.finished:
        require_same(folder, done, settings, command)
        say(f"{name}: trained already, kept in {folder / 'best'}; --restart trains anew")
        _discard(folder / "last")  # a kill may have left it
        return done
    begun = read_record(folder / "last")
    if begun is not None:
        require_same(folder, begun, settings, command)
    write_record(folder / "last", Record(name, settings))
    progress = work(Record(name, settings))
    best = read_record(folder / "best")
    if best is None:
        raise SltCacheError(f"{folder}: the training ended without weights. Train it anew: {command} --restart")
    finished = best.finish(progress.epoch, progress.seconds)
    write_record(folder / "best", finished)
    _discard(folder / "last")
    return finished


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
    max_seconds: float | None = None,
) -> Progress:
    """Runs the loop on the task that `make_task(device, record_of)` builds.

    `record_of(epoch, dev)` is the record to be saved with the best weights of that epoch."""
    compute = run.config.compute
    require_tracker(compute.tracker)
    device = pick_device(compute.device, compute.precision)

    def record_of(epoch: int, dev: dict[str, float]) -> Record:
        beams = run.config.generation.dev_beams if dev else None
        context = _context(run, scored=bool(dev))
        return replace(record, best_epoch=epoch, dev=dev, dev_beams=beams, context=context)

    torch.manual_seed(run.config.seed)
    task = make_task(device, record_of)
    task.model.to(device)
    engine = Engine(
        settings,
        run.config.seed,
        evaluate_every,
        compute.precision,
        device,
        folder,
        max_seconds,
        save_seconds=60 * compute.save_minutes,
        diagnostics=compute.diagnostics,
        tracker=compute.tracker,
    )
    return train(task, engine)


def _context(run: Run, scored: bool) -> dict[str, Any]:
    """What is saved with weights beside what decided them."""
    config = run.config
    return {
        "corpus": config.corpus.name,
        "scoring": {"preset": preset_of(config), **asdict(choices_of(config))} if scored else {},
        "generation": config.generation.model_dump(mode="json", exclude={"batch_size"}),
    }
