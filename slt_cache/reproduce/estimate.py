"""Estimates how long the steps of a plan will take on this device.

A rough guess for planning, good to a factor of about two; when steps have been done, the remaining time is corrected by
their duration."""

from collections.abc import Iterable

from slt_cache.config import Config
from slt_cache.pipeline.rates import DeviceRates, seconds_of
from slt_cache.pipeline.workload import Workload, workload_of
from slt_cache.progress import log
from slt_cache.reproduce.planning import Step, is_done
from slt_cache.reproduce.variants import run_of


def estimate(steps: Iterable[Step], config: Config) -> dict[Step, float]:
    """Estimates the seconds of each step; 0 if it is done."""
    steps = list(steps)
    if all(is_done(step, config) for step in steps):
        return dict.fromkeys(steps, 0.0)
    run = run_of(steps[0].place, config)
    manifests = [run_of(step.place, config).manifest for step in steps]
    workload = workload_of(run, [*manifests, steps[0].place.root / run.manifest.name])
    counts = ", ".join(f"{amount.clips:,} {split}" for split, amount in workload.splits.items())
    log(f"estimates for {counts} clips, {workload.source}")
    rates = DeviceRates(config, workload)
    return {step: 0.0 if is_done(step, config) else _seconds(step, config, workload, rates) for step in steps}


def _seconds(step: Step, config: Config, workload: Workload, rates: DeviceRates) -> float:
    return seconds_of(step.action, step.model, run_of(step.place, config, step.model).config, workload, rates)
