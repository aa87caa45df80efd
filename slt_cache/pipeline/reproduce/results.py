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
from slt_cache.pipeline.reproduce.variants import place_of, run_of
from slt_cache.pipeline.run import END_TO_END
from slt_cache.pipeline.scoring import choices_of, preset_of

FIGURES = {"bleu1": "B-1", "bleu2": "B-2", "bleu3": "B-3", "bleu4": "B-4", "rouge_l_beta12": "R-L"}
"""ROUGE-L with the beta of the field's tables, since the paper's stands beside it."""
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
class Difference:
    """Of BLEU-4, between two models of one seed."""

    value: float
    p: float
    """By paired bootstrap (metrics/paired.py)."""


@dataclass(frozen=True)
class RowResult:
    """A row of the paper's with what we measured."""

    row: Row
    scores: dict[str, Spread]
    """By FIGURES."""
    control: Spread | None
    """BLEU-4 of the Light-T that was trained over the same cache."""
    against_control: tuple[Difference, ...]
    """Of each seed; empty where there is no control."""
    against: tuple[Difference, ...]
    """Of each seed, from the row that the table compares with; empty for that row itself."""
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


def significant(differences: Sequence[Difference]) -> int:
    """Seeds whose difference is more than chance, and to the side to which it is on average."""
    middle = mean(one.value for one in differences)
    return sum(one.p < SIGNIFICANT and one.value * middle > 0 for one in differences)


def result_of(table: Table, seeds: Sequence[int], root: Path, config: Config) -> TableResult:
    """Reads eval/ of every folder of the table; all its steps must have been done."""
    rows, signature, clips, trained = [], "", 0, ""
    for row in table.rows:
        found = [_evaluation(root, seed, row, config) for seed in seeds]
        beside = _control_of(row, root, config)
        controls = [_evaluation(root, seed, beside, config) for seed in seeds] if beside is not None else []
        scores = {key: Spread(tuple(one["scores"][key] for one in found)) for key in FIGURES}
        signature, clips = found[0]["signatures"]["bleu4"], found[0]["clips"]
        trained = max(trained, *(one["made_from"]["weights"]["finished_at"] for one in [*found, *controls]))
        others = table.rows[table.against]
        rows.append(
            RowResult(
                row,
                scores,
                control=Spread(tuple(one["scores"]["bleu4"] for one in controls)) if controls else None,
                against_control=() if beside is None else _differences(root, seeds, row, beside, config),
                against=() if row is others else _differences(root, seeds, row, others, config),
                hours=_hours(root, seeds, row, config) if table.hours else None,
            )
        )
    return TableResult(table, tuple(rows), clips, signature, trained)


def _control_of(row: Row, root: Path, config: Config) -> Row | None:
    """The control over the cache that the row's model reads; None where that reads videos, or is stage 1 itself."""
    if row.model in END_TO_END or row.model == "visual":
        return None
    return replace(row, variant=place_of(root, 0, row.variant, config).of_cache.variant, model=CONTROL)


def _folder(root: Path, seed: int, row: Row, config: Config) -> Path:
    return run_of(place_of(root, seed, row.variant, config), config).evaluation


def _evaluation(root: Path, seed: int, row: Row, config: Config) -> dict[str, Any]:
    saved: dict[str, Any] = read_json(_folder(root, seed, row, config) / f"{file_stem(row.model, 'test')}.json")
    return saved


def _sentences(path: Path) -> tuple[list[str], list[str]]:
    """References and hypotheses of an evaluation's table."""
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]
    return [line[1] for line in lines], [line[2] for line in lines]


def _differences(root: Path, seeds: Sequence[int], row: Row, other: Row, config: Config) -> tuple[Difference, ...]:
    """Of the row's BLEU-4 from the other's, seed by seed."""
    found = []
    for seed in seeds:
        folder, beside = (_folder(root, seed, one, config) for one in (row, other))
        references, ours = _sentences(folder / f"{file_stem(row.model, 'test')}.tsv")
        _, theirs = _sentences(beside / f"{file_stem(other.model, 'test')}.tsv")
        told = compare(ours, theirs, references, preset_of(config), choices_of(config))["bleu4"]
        found.append(Difference(told.value - told.other, told.p))
    return tuple(found)


def _hours(root: Path, seeds: Sequence[int], row: Row, config: Config) -> Spread | None:
    steps = [Step(place_of(root, seed, row.variant, config), "visual") for seed in seeds]
    seconds = [seconds_of(step, config) for step in steps]
    return Spread(tuple(one / 3600 for one in seconds if one is not None)) if None not in seconds else None
