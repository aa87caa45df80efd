"""Runs the steps of a plan in order. Finished steps are skipped, and killed ones resume from their saved state, since
every step is an ordinary command."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from slt_cache.checkpoints.record import read_record
from slt_cache.config import Config
from slt_cache.corpora.base import SPLITS, of_split
from slt_cache.errors import SltCacheError
from slt_cache.pipeline.evaluate import evaluate
from slt_cache.pipeline.extract import extract
from slt_cache.pipeline.prepare import ensure_clips
from slt_cache.pipeline.pretrain_llm import pretrain
from slt_cache.pipeline.train_baseline import train_baseline
from slt_cache.pipeline.train_joint import train_joint, train_unfrozen
from slt_cache.pipeline.train_llm import train_llm
from slt_cache.pipeline.train_visual import train_visual
from slt_cache.progress import log
from slt_cache.reproduce.planning import Step, is_done
from slt_cache.reproduce.variants import link_artifacts, run_of
from slt_cache.runs.eval_files import saved_scores
from slt_cache.runs.run import Run
from slt_cache.runs.variants import MODELS
from slt_cache.training.progress_bar import duration


def do_all(steps: Sequence[Step], config: Config, estimates: dict[Step, float]) -> None:
    """Runs all open steps. `estimates` are in seconds; the remaining time is corrected by how long earlier steps
    took."""
    open_steps = [step for step in steps if not is_done(step, config)]
    taken = expected = 0.0
    for number, step in enumerate(open_steps, 1):
        left = sum(estimates[one] for one in open_steps[number - 1 :])
        pace = taken / expected if expected else 1.0
        log(f"[{number} of {len(open_steps)}] {step.name} (about {duration(left * pace)} left in all)")
        begun = time.monotonic()
        do(step, config)
        taken += time.monotonic() - begun
        expected += estimates[step]


def do(step: Step, config: Config) -> None:
    """Runs one step. Raises InputError if its folder holds the same step with other settings."""
    link_artifacts(step.place)
    run = run_of(step.place, config, step.model)
    work: dict[str, Callable[[Run], Any]] = {
        "visual": train_visual,
        "pretrain": _pretrain,
        "features": _extract,
        "train": lambda run: _train(run, step.model),
        "baseline": lambda run: train_baseline(run, run.features),
        "test": lambda run: _test(run, step.model),
    }
    work[step.action](run)


def _pretrain(run: Run) -> None:
    pretrain(run, ensure_clips(run))


def _extract(run: Run) -> None:
    clips = ensure_clips(run)
    splits = [split for split in SPLITS if of_split(clips, split)]
    failed = [failure for done in extract(run, splits, run.features) for failure in done.failed]
    if failed:
        named = ", ".join(failure.clip_id for failure in failed[:5])
        raise SltCacheError(f"{run.features}: {len(failed)} clips cannot be read, such as {named}. Repair them first.")


def _train(run: Run, model: str) -> None:
    variant = MODELS[model]
    if variant.from_cache:
        train_llm(run, run.features)
    elif variant.after_stage_1:
        train_unfrozen(run)
    else:
        train_joint(run)


def _test(run: Run, model: str) -> None:
    """Scores a model on test, once for the same weights: all choices are made on dev."""
    references = [clip.text for clip in of_split(ensure_clips(run), "test")]
    if saved_scores(run, model, "test", references) is None:
        evaluate(run, "test", run.features if run.features.exists() else None, model)


def seconds_of(step: Step, config: Config) -> float | None:
    """Returns the duration of a finished training; None for any other step."""
    run = run_of(step.place, config, step.model)
    folder = {"visual": run.visual, "pretrain": run.pretrained}.get(step.action, run.folder / step.model)
    record = read_record(folder / "best")
    return record.seconds if record is not None and record.finished else None
