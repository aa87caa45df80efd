"""Times the work of each stage alone and next to busy programs, in wall and in processor time.

One epoch of either training with its scores on dev, decoding of dev, and an extraction, by the commands' own functions.
Rounds with and without busy programs alternate."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from slt_cache.bench.measure import wait_for
from slt_cache.children import starting
from slt_cache.config import Config
from slt_cache.device import pick_device
from slt_cache.files import scratch_folder
from slt_cache.pipeline.evaluate import evaluate
from slt_cache.pipeline.extract import extract
from slt_cache.pipeline.prepare import ensure_clips
from slt_cache.pipeline.train_llm import train_llm
from slt_cache.pipeline.train_visual import train_visual
from slt_cache.progress import log
from slt_cache.runs.run import Run
from slt_cache.threads import available_cores

ROUNDS = 2
"""Repetitions with and without busy programs, which alternate; the median is reported."""
BUSY = """import os
if hasattr(os, "sched_setscheduler"):
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
while os.getppid() == {parent}:
    pass
"""
"""Program that keeps a core busy until its parent ends; at ordinary priority, whatever that of its parent."""


@dataclass(frozen=True)
class Taken:
    """What one piece of work took."""

    wall: float
    """Seconds."""
    processor: float
    """Seconds of this process and its children, on all cores."""


def bench_contention(config: Config, neighbours: int | None = None) -> dict[str, Any]:
    """Measures all work alone and next to `neighbours` busy programs, by default one per core; ratios are busy by
    idle."""
    device = pick_device(config.compute.device, config.compute.precision)
    count = neighbours or available_cores()
    idle: list[dict[str, Taken]] = []
    busy: list[dict[str, Taken]] = []
    with scratch_folder() as folder:
        run = _prepared(folder / "run", config)
        log(f"timing on {device}, {ROUNDS} rounds alone and {ROUNDS} next to {count} busy programs")
        for _ in range(ROUNDS):
            idle.append(_round(run))
            with busy_programs(count):
                busy.append(_round(run))
    values: dict[str, Any] = {}
    for name in idle[0]:
        alone, beside = ([one[name] for one in rounds] for rounds in (idle, busy))
        values[f"{name}_seconds"] = round(median(one.wall for one in alone), 2)
        values[f"{name}_processor_seconds"] = round(median(one.processor for one in alone), 2)
        values[f"{name}_wall_ratio"] = _ratio([one.wall for one in beside], [one.wall for one in alone])
        values[f"{name}_processor_ratio"] = _ratio([one.processor for one in beside], [one.processor for one in alone])
    import torch

    return {
        **values,
        "neighbours": count,
        "cores": available_cores(),
        "threads": torch.get_num_threads(),
        "rounds": ROUNDS,
        "workers": config.compute.readers,
        "device": str(device),
    }


@contextmanager
def busy_programs(count: int) -> Iterator[None]:
    """Runs programs in the block that keep one core busy each. They end with this process, however it ends."""
    with starting(tracked=False):
        programs = [
            subprocess.Popen([sys.executable, "-S", "-c", BUSY.format(parent=os.getpid())]) for _ in range(count)
        ]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def _prepared(folder: Path, config: Config) -> Run:
    """Returns a run of trainings of one epoch, whose stages are trained and cached once, which warms everything up."""
    once = {"epochs": 1, "evaluate_every": 2}
    llm = config.llm.model_copy(update={"pretrained": False})
    config = config.model_copy(
        update={
            "visual_training": config.visual_training.model_copy(update=once),
            "llm_training": config.llm_training.model_copy(update=once),
            "llm": llm,
            "compute": config.compute.model_copy(update={"keep_state": False}),
        }
    )
    run = Run(folder, config)
    ensure_clips(run)
    for work in _works(run).values():
        work()
    return run


def _works(run: Run) -> dict[str, Callable[[], object]]:
    """Returns the pieces of work by name, in an order in which each has what it needs."""
    return {
        "train_visual": lambda: train_visual(run, restart=True),
        "eval_dev": lambda: evaluate(run, "dev", model="visual"),
        "extract_features": lambda: extract(run, ["train"], run.features, restart=True),
        "train_llm": lambda: train_llm(run, run.features, restart=True),
    }


def _round(run: Run) -> dict[str, Taken]:
    return {name: _timed(work, run.config.compute.device) for name, work in _works(run).items()}


def _timed(work: Callable[[], object], device: str) -> Taken:
    wall, processor = time.perf_counter(), _processor_seconds()
    work()
    wait_for(pick_device(device))
    return Taken(time.perf_counter() - wall, _processor_seconds() - processor)


def _processor_seconds() -> float:
    """Returns the processor seconds of this process and of all its children that have ended."""
    return sum(os.times()[:4])


def _ratio(busy: list[float], idle: list[float]) -> float:
    return round(median(busy) / median(idle), 3)
