"""What the steps left behind -> the rows of a table: our scores over the seeds beside the paper's, and whether both
tell the same. Trains and translates nothing."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from slt_cache.config import Config
from slt_cache.files import read_json
from slt_cache.metrics.paired import compare
from slt_cache.pipeline.evaluate import file_stem
from slt_cache.pipeline.reproduce.plan import CONTROL, Step
from slt_cache.pipeline.reproduce.steps import seconds_of
from slt_cache.pipeline.reproduce.tables import Row, Table
from slt_cache.pipeline.reproduce.variants import Place, run_of
from slt_cache.pipeline.scoring import choices_of, preset_of

FIGURES = {"bleu1": "B-1", "bleu2": "B-2", "bleu3": "B-3", "bleu4": "B-4", "rouge_l": "R-L"}
SIGNIFICANT = 0.05
FROM_CACHE = ("llm", "llm-from-scratch")
"""Models that a control stands beside."""


@dataclass(frozen=True)
class Spread:
    """One figure over the seeds."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return mean(self.values)

    @property
    def deviation(self) -> float | None:
        """Standard deviation of a sample; None for a single seed."""
        return stdev(self.values) if len(self.values) > 1 else None


@dataclass(frozen=True)
class RowResult:
    """A row of the paper's with what we measured."""

    row: Row
    scores: dict[str, Spread]
    """By FIGURES."""
    control: Spread | None
    """BLEU-4 of the Light-T that was trained over the same cache, for as many epochs."""
    control_p: tuple[float, ...]
    """Of each seed: how likely so large a difference from the control is by chance. Empty where there is none."""
    p: tuple[float, ...]
    """Of each seed: how likely so large a difference of BLEU-4 from the row that the table compares with is by chance.
    Empty for that row itself."""
    hours: Spread | None
    """Of stage 1, on this machine."""

    @property
    def bleu4(self) -> float:
        return self.scores["bleu4"].mean


@dataclass(frozen=True)
class TableResult:
    table: Table
    rows: tuple[RowResult, ...]
    clips: int
    """Of the test split."""
    signature: str
    """Of BLEU-4."""
    trained: str
    """When the last of its models was: ISO 8601, UTC."""
    agreeing: int = field(init=False)
    """Pairs of rows that are in the same order by BLEU-4 as in the paper."""
    pairs: int = field(init=False)

    def __post_init__(self) -> None:
        told = [
            (one.bleu4 > other.bleu4) == (one.row.bleu4 > other.row.bleu4)
            for one, other in combinations(self.rows, 2)
            if one.row.bleu4 is not None and other.row.bleu4 is not None
        ]
        object.__setattr__(self, "agreeing", sum(told))
        object.__setattr__(self, "pairs", len(told))


def significant(p: Sequence[float]) -> int:
    """Seeds whose difference is more than chance."""
    return sum(one < SIGNIFICANT for one in p)


def result_of(table: Table, seeds: Sequence[int], root: Path, config: Config) -> TableResult:
    """Reads eval/ of every folder of the table; all its steps must have been done."""
    rows, signature, clips, trained = [], "", 0, ""
    for row in table.rows:
        found = [_evaluation(root, seed, seeds[0], row, config) for seed in seeds]
        scores = {key: Spread(tuple(one["scores"][key] for one in found)) for key in FIGURES}
        signature, clips = found[0]["signatures"]["bleu4"], found[0]["clips"]
        trained = max(trained, *(one["made_from"]["weights"]["finished_at"] for one in found))
        others = table.rows[table.against]
        p = () if row is others else _p(root, seeds, row, others, config)
        hours = _hours(root, seeds, row, config) if table.hours else None
        control, control_p = _control(root, seeds, row, config)
        rows.append(RowResult(row, scores, control, control_p, p, hours))
    return TableResult(table, tuple(rows), clips, signature, trained)


def _folder(root: Path, seed: int, first: int, row: Row, config: Config) -> Path:
    return run_of(Place(root, seed, row.variant, first), config).evaluation


def _evaluation(root: Path, seed: int, first: int, row: Row, config: Config) -> dict[str, Any]:
    saved: dict[str, Any] = read_json(_folder(root, seed, first, row, config) / f"{file_stem(row.model, 'test')}.json")
    return saved


def _sentences(path: Path) -> tuple[list[str], list[str]]:
    """References and hypotheses of an evaluation's table."""
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]
    return [line[1] for line in lines], [line[2] for line in lines]


def _p(root: Path, seeds: Sequence[int], row: Row, other: Row, config: Config) -> tuple[float, ...]:
    """Of BLEU-4, seed by seed."""
    found = []
    for seed in seeds:
        folder, beside = (_folder(root, seed, seeds[0], one, config) for one in (row, other))
        references, ours = _sentences(folder / f"{file_stem(row.model, 'test')}.tsv")
        _, theirs = _sentences(beside / f"{file_stem(other.model, 'test')}.tsv")
        found.append(compare(ours, theirs, references, preset_of(config), choices_of(config))["bleu4"].p)
    return tuple(found)


def _control(root: Path, seeds: Sequence[int], row: Row, config: Config) -> tuple[Spread | None, tuple[float, ...]]:
    """Its BLEU-4, and how likely the row's difference from it is by chance; nothing where no cache was read."""
    if row.model not in FROM_CACHE:
        return None, ()
    control = replace(row, model=CONTROL)
    found = [_evaluation(root, seed, seeds[0], control, config) for seed in seeds]
    return Spread(tuple(one["scores"]["bleu4"] for one in found)), _p(root, seeds, row, control, config)


def _hours(root: Path, seeds: Sequence[int], row: Row, config: Config) -> Spread | None:
    steps = [Step(Place(root, seed, row.variant, seeds[0]), "visual") for seed in seeds]
    seconds = [seconds_of(step, config) for step in steps]
    return Spread(tuple(one / 3600 for one in seconds if one is not None)) if None not in seconds else None
