"""Plans the steps that produce the rows of tables for some seeds, each step once and after those that it needs. Runs
none of them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from slt_cache.checkpoints.record import read_record
from slt_cache.config import Config
from slt_cache.errors import InputError
from slt_cache.estimates.rates import DeviceRates, seconds_of
from slt_cache.estimates.workload import Workload, workload_of
from slt_cache.features.file import CacheFile
from slt_cache.features.place import is_cache
from slt_cache.pipeline.train_baseline import has_baseline
from slt_cache.progress import log
from slt_cache.reproduce.tables import Row, Table
from slt_cache.reproduce.variants import RunFolder, folder_of, run_of
from slt_cache.runs.eval_files import is_of_these_weights
from slt_cache.runs.llm_folders import require_at_hand
from slt_cache.runs.variants import BASELINE, MODELS, PRETRAINING, VISUAL


@dataclass(frozen=True)
class Step:
    """One task in one folder."""

    place: RunFolder
    action: str
    """Kind of task: visual, pretrain, features, train, baseline or test."""
    model: str = "llm"
    """Model to train or test, one of variants.MODELS."""

    @property
    def name(self) -> str:
        stage = MODELS[self.model].stage
        what = {
            "visual": VISUAL.stage,
            "pretrain": PRETRAINING.stage,
            "features": "features of every clip",
            "test": f"test of {stage}",
        }.get(self.action, stage)
        return f"seed {self.place.seed}, {self.place.variant}: {what}"


def plan(tables: Iterable[Table], seeds: Sequence[int], root: Path, config: Config) -> list[Step]:
    """Returns the steps seed by seed, each once, even if several tables need it."""
    steps: dict[Step, None] = {}
    listed = list(tables)
    for seed in seeds:
        for table in listed:
            for row in table.rows:
                place = folder_of(root, seed, row.variant, config)
                steps.update(dict.fromkeys(_steps_of(place, row, config)))
                if table.stage_1:
                    steps[Step(place.of_encoder, "test", VISUAL.name)] = None
    return list(steps)


def _steps_of(place: RunFolder, row: Row, config: Config) -> Iterator[Step]:
    pretrain = Step(place.of_llm, "pretrain")
    pretrains = run_of(place.of_llm, config).pretrains_llm
    model = MODELS[row.model]
    if model.own_encoder:
        if model.after_stage_1:
            yield Step(place, "visual")
        if pretrains:
            yield pretrain
        yield Step(place, "train", row.model)
        yield Step(place, "test", row.model)
        return
    yield Step(place.of_encoder, "visual")
    if not model.from_cache:
        yield Step(place, "test", row.model)
        return
    yield Step(place.of_cache, "features")
    if pretrains and model.pretrained:
        yield pretrain
    yield Step(place, "train", row.model)
    yield Step(place, "test", row.model)
    yield Step(place.of_cache, "baseline", BASELINE.name)
    yield Step(place.of_cache, "test", BASELINE.name)


def is_done(step: Step, config: Config) -> bool:
    """Returns whether an earlier call did the step with these settings. Trainings of an earlier version that differ,
    and tests of other weights, are repeated."""
    run = run_of(step.place, config, step.model)
    if step.action == "features":
        return is_cache(run.features) and {"train", "dev", "test"} <= set(CacheFile(run.features).splits)
    if step.action == "test":
        return is_of_these_weights(run, step.model, "test")
    if step.action == "baseline":
        return is_cache(run.features) and has_baseline(run, run.features)
    folder = {"visual": run.visual, "pretrain": run.pretrained}.get(step.action, run.folder / step.model)
    record = read_record(folder / "best")
    return record is not None and record.finished


def estimate(steps: Iterable[Step], config: Config) -> dict[Step, float]:
    """Estimates the seconds of each step on this device, good to a factor of about two; 0 if it is done."""
    steps = list(steps)
    if all(is_done(step, config) for step in steps):
        return dict.fromkeys(steps, 0.0)
    estimates = dict.fromkeys(steps, 0.0)
    rates: DeviceRates | None = None
    for of_size in _by_size(steps, config):
        workload = _workload(of_size, config)
        rates = rates or DeviceRates(config, workload)
        for step in of_size:
            if not is_done(step, config):
                own = run_of(step.place, config, step.model).config
                used = workload if step.action == "features" else workload.used_by(own, stage_2=True)
                estimates[step] = seconds_of(step.action, step.model, own, used, rates)
    return estimates


def _by_size(steps: Iterable[Step], config: Config) -> list[list[Step]]:
    """Groups steps by the size of their corpus."""
    groups: dict[int, list[Step]] = {}
    for step in steps:
        groups.setdefault(run_of(step.place, config).config.corpus.clips, []).append(step)
    return list(groups.values())


def _workload(steps: Sequence[Step], config: Config) -> Workload:
    """Counts the clips of steps over one corpus, and logs how many there are."""
    run = run_of(steps[0].place, config)
    manifests = [run_of(step.place, config).manifest for step in steps]
    workload = workload_of(run, [*manifests, steps[0].place.root / run.manifest.name])
    counts = ", ".join(f"{amount.clips:,} {split}" for split, amount in workload.splits.items())
    log(f"estimates for {counts} clips, {workload.source}")
    try:
        require_at_hand(run)
    except InputError as error:  # a plan needs no more than its name
        log(f"not at hand, so only the plan can be made: {error}")
    return workload
