"""Tables and seeds in, the steps that make their rows out, each once, in an order in which every step finds what it
needs. Does none of them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from slt_cache.checkpoints.record import read_record
from slt_cache.config import Config
from slt_cache.features.file import CacheFile
from slt_cache.pipeline.train_llm import has_control
from slt_cache.reproduce.tables import Row, Table
from slt_cache.reproduce.variants import RunFolder, folder_of, run_of
from slt_cache.runs.eval_files import is_of_these_weights
from slt_cache.runs.run import END_TO_END
from slt_cache.text.families import small_family

CONTROL = "control"
TRAININGS = {
    "visual": "stage 1",
    "llm": "stage 2",
    CONTROL: "the control, Light-T over the same cache",
    "llm-from-scratch": "stage 2 with the LLM from scratch",
    "llm-unfreeze-temporal": "stage 2 in which the temporal module learns on",
    "llm-unfreeze-all": "stage 2 in which the encoder learns on",
    "joint": "joint training of encoder and LLM",
    "joint-temporal": "joint training with the backbone frozen as it began",
}
"""Models of run.MODELS, in the words of a plan."""


@dataclass(frozen=True)
class Step:
    """One piece of work in one folder."""

    place: RunFolder
    action: str
    """visual, pretrain, features, train, control, test."""
    model: str = "llm"
    """What is trained or tested, one of run.MODELS."""

    @property
    def name(self) -> str:
        what = {
            "visual": "stage 1",
            "pretrain": "the LLM learns from text",
            "features": "features of every clip",
            "test": f"test of {TRAININGS[self.model]}",
        }.get(self.action, TRAININGS[self.model])
        return f"seed {self.place.seed}, {self.place.variant}: {what}"


def plan(tables: Iterable[Table], seeds: Sequence[int], root: Path, config: Config) -> list[Step]:
    """Every step once, however many tables need it; seed by seed."""
    steps: dict[Step, None] = {}
    listed = list(tables)
    for seed in seeds:
        for table in listed:
            for row in table.rows:
                steps.update(dict.fromkeys(_steps_of(folder_of(root, seed, row.variant, config), row, config)))
    return list(steps)


def _steps_of(place: RunFolder, row: Row, config: Config) -> Iterator[Step]:
    pretrain = Step(place.of_llm, "pretrain")
    small = small_family(run_of(place.of_llm, config).config.llm.name)
    if row.model in END_TO_END:
        if row.model.startswith("llm"):
            yield Step(place, "visual")
        if small:
            yield pretrain
        yield Step(place, "train", row.model)
        yield Step(place, "test", row.model)
        return
    yield Step(place.of_encoder, "visual")
    if row.model == "visual":
        yield Step(place, "test", row.model)
        return
    yield Step(place.of_cache, "features")
    if small and row.model == "llm":
        yield pretrain
    yield Step(place, "train", row.model)
    yield Step(place, "test", row.model)
    yield Step(place.of_cache, "control", CONTROL)
    yield Step(place.of_cache, "test", CONTROL)


def is_done(step: Step, config: Config) -> bool:
    """Whether an earlier call did it. The folder's settings are these; but what an earlier version trained in another
    way, or what was tested with other weights, is to be done again."""
    run = run_of(step.place, config, step.model)
    if step.action == "features":
        return run.features.is_file() and {"train", "dev", "test"} <= set(CacheFile(run.features).splits)
    if step.action == "test":
        return is_of_these_weights(run, step.model, "test")
    if step.action == "control":
        return run.features.is_file() and has_control(run, run.features)
    folder = {"visual": run.visual, "pretrain": run.pretrained}.get(step.action, run.folder / step.model)
    record = read_record(folder / "best")
    return record is not None and record.finished
