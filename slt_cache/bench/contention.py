"""Times the work of each stage alone and next to busy programs, in wall and in processor time.

One epoch of either training with its scores on dev, decoding of dev, and an extraction, by the commands' own functions,
each in a process of its own whose threads wait as the command's do. Rounds with and without busy programs alternate."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

from slt_cache.bench.measure import wait_for
from slt_cache.children import in_a_process, starting
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
from slt_cache.threads import NONE, SPINS, available_cores, set_up_threads

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
        log("a first round, which is not measured")
        run = _prepared(Run(folder / "run", config))
        log(f"timing on {device}, {ROUNDS} rounds alone and {ROUNDS} next to {count} busy programs")
        for number in range(1, ROUNDS + 1):
            log(f"round {number} of {ROUNDS}, alone")
            idle.append(_round(run))
            log(f"round {number} of {ROUNDS}, next to {count} busy programs")
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


def _prepared(run: Run) -> Run:
    """Returns the run with trainings of one epoch, whose stages are trained and cached once, which warms everything
    up."""
    once = {"epochs": 1, "evaluate_every": 2}
    config = run.config
    config = config.model_copy(
        update={
            "visual_training": config.visual_training.model_copy(update=once),
            "llm_training": config.llm_training.model_copy(update=once),
            "llm": config.llm.model_copy(update={"pretrained": False}),
            "compute": config.compute.model_copy(update={"keep_state": False}),
        }
    )
    run = Run(run.folder, config)
    ensure_clips(run)
    _round(run)
    return run


WORKS: dict[str, tuple[Callable[[Run], object], int]] = {
    "train_visual": (lambda run: train_visual(run, restart=True), SPINS),
    "eval_dev": (lambda run: evaluate(run, "dev", model="visual"), SPINS),
    "extract_features": (lambda run: extract(run, ["train"], run.features, restart=True), NONE),
    "train_llm": (lambda run: train_llm(run, run.features, restart=True), SPINS),
}
"""Pieces of work, in an order in which each has what it needs, and how long the threads of their commands spin."""


def _round(run: Run) -> dict[str, Taken]:
    return {name: _in_its_process(name, run) for name in WORKS}


def _in_its_process(name: str, run: Run) -> Taken:
    set_up_threads(WORKS[name][1])  # read by the new process
    try:
        taken = in_a_process(f"bench contention: {name}", partial(_timed, name), run)
    finally:
        set_up_threads()
    log(f"{name}: {taken.wall:.1f} s, processor {taken.processor:.1f} s")
    return taken


def _timed(name: str, run: Run) -> Taken:
    device = pick_device(run.config.compute.device, run.config.compute.precision)
    wall, processor = time.perf_counter(), _processor_seconds()
    WORKS[name][0](run)
    wait_for(device)
    return Taken(time.perf_counter() - wall, _processor_seconds() - processor)


def _processor_seconds() -> float:
    """Returns the processor seconds of this process and of all its children that have ended."""
    return sum(os.times()[:4])


def _ratio(busy: list[float], idle: list[float]) -> float:
    return round(median(busy) / median(idle), 3)
