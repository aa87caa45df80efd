"""Reports what the shipped configs of real corpora take on this device. Nothing can fail but the measurement."""

from collections.abc import Iterator

from slt_cache.config import Config, load_config, shipped_configs
from slt_cache.corpora.registry import corpus_of
from slt_cache.doctor.base import Check, Finding, Subject
from slt_cache.estimates.dry_run import memory_of
from slt_cache.estimates.rates import DeviceRates, seconds_of
from slt_cache.estimates.workload import Workload, workload_of
from slt_cache.runs.run import Run
from slt_cache.runs.variants import LLM, VISUAL

FIRST = "phoenix14t"
"""Config whose clips are measured; the others are scaled by their numbers of clips and frames."""
FEATURE = 2
"""Bytes of a float16."""
HOUR, GIGABYTE = 3600, 1e9


def _check(subject: Subject) -> Iterator[Finding]:
    names = sorted(shipped_configs(), key=lambda name: (name != FIRST, name))
    rates: DeviceRates | None = None
    others = []
    for name in names:
        config = load_config(name, [f"compute.device={subject.device}"])
        corpus = corpus_of(config)
        if corpus.is_drawn:
            continue
        if corpus.planned(config.corpus) is None:
            others.append(name)
            continue
        run = Run(subject.folder / "corpora" / name, config)
        workload = workload_of(run, [])
        rates = rates or DeviceRates(config, workload)
        yield Finding(name, _takes(run, workload, rates))
    yield Finding(", ".join(others), not_checked="no size is known before the corpus is here; then use --dry-run")


def _takes(run: Run, workload: Workload, rates: DeviceRates) -> dict[str, float]:
    """Returns the hours and gigabytes of each step, good to a factor of about two."""
    hours = {
        "stage_1": seconds_of("visual", VISUAL.name, run.config, workload, rates) / HOUR,
        "features": seconds_of("features", LLM.name, run.config, workload, rates) / HOUR,
        "stage_2": seconds_of("train", LLM.name, run.config, workload, rates) / HOUR,
    }
    memory = {
        stage: memory_of(run, variant, workload, rates)[2] / GIGABYTE
        for stage, variant in {"stage_1": VISUAL, "stage_2": LLM}.items()
    }
    return {
        "clips": sum(amount.clips for amount in workload.splits.values()),
        **{f"{name}_hours": _rounded(value) for name, value in hours.items()},
        **{f"{name}_memory_gb": _rounded(value) for name, value in memory.items()},
        "features_gb": _rounded(_cache_bytes(run.config, workload) / GIGABYTE),
    }


def _cache_bytes(config: Config, workload: Workload) -> float:
    frames = sum(amount.frames for amount in workload.splits.values())
    return frames * config.video.keep_rate * config.features.views * config.encoder.dim * FEATURE


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


CHECK = Check("corpora", "What the shipped configs of real corpora would take here.", _check)
