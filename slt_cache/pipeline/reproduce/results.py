"""What the steps left behind -> the rows of a table: our scores over the seeds beside the paper's, and whether both
tell the same. Trains and translates nothing."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
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
    """BLEU-4 of the Light-T that was trained over the same cache."""
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

    def significant_seeds(self, found: RowResult) -> int:
        return sum(p < SIGNIFICANT for p in found.p)


def result_of(table: Table, seeds: Sequence[int], root: Path, config: Config) -> TableResult:
    """Reads eval/ of every folder of the table; all its steps must have been done."""
    rows, signature, clips = [], "", 0
    for row in table.rows:
        found = [_evaluation(root, seed, seeds[0], row, config) for seed in seeds]
        scores = {key: Spread(tuple(one["scores"][key] for one in found)) for key in FIGURES}
        signature, clips = found[0]["signatures"]["bleu4"], found[0]["clips"]
        others = table.rows[table.against]
        p = () if row is others else tuple(_p(root, seed, seeds[0], row, others, config) for seed in seeds)
        hours = _hours(root, seeds, row, config) if table.hours else None
        rows.append(RowResult(row, scores, _control(root, seeds, row, config), p, hours))
    return TableResult(table, tuple(rows), clips, signature)


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


def _p(root: Path, seed: int, first: int, row: Row, other: Row, config: Config) -> float:
    references, ours = _sentences(_folder(root, seed, first, row, config) / f"{file_stem(row.model, 'test')}.tsv")
    _, theirs = _sentences(_folder(root, seed, first, other, config) / f"{file_stem(other.model, 'test')}.tsv")
    return compare(ours, theirs, references, preset_of(config), choices_of(config))["bleu4"].p


def _control(root: Path, seeds: Sequence[int], row: Row, config: Config) -> Spread | None:
    """None where no cache was read, or no control was made."""
    files = [_folder(root, seed, seeds[0], row, config) / f"{file_stem(CONTROL, 'test')}.json" for seed in seeds]
    if row.model != "llm" or not all(file.is_file() for file in files):
        return None
    return Spread(tuple(read_json(file)["scores"]["bleu4"] for file in files))


def _hours(root: Path, seeds: Sequence[int], row: Row, config: Config) -> Spread | None:
    steps = [Step(Place(root, seed, row.variant, seeds[0]), "visual") for seed in seeds]
    seconds = [seconds_of(step, config) for step in steps]
    return Spread(tuple(one / 3600 for one in seconds if one is not None)) if None not in seconds else None
