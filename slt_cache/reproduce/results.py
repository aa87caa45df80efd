"""Reads the results of the steps into the rows of a table: our scores over the seeds next to the paper's, and whether
both agree. Trains and translates nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from statistics import mean
from typing import Any

from slt_cache.checkpoints.record import read_record
from slt_cache.config import Config
from slt_cache.hashes import read_signed
from slt_cache.metrics.paired import SIGNIFICANT
from slt_cache.metrics.registry import IN_PAPER
from slt_cache.metrics.scores import compare
from slt_cache.metrics.seeds import MeanAndStd
from slt_cache.metrics.video_gap import GAP, LOW, SWAPPED, sees_video
from slt_cache.pipeline.open_frame_cache import GIGABYTE
from slt_cache.reproduce.planning import Step
from slt_cache.reproduce.steps import seconds_of
from slt_cache.reproduce.tables import Row, Table
from slt_cache.reproduce.variants import folder_of, run_of
from slt_cache.runs.eval_files import file_stem
from slt_cache.runs.evaluations import read_table
from slt_cache.runs.scoring import choices_of, preset_of
from slt_cache.runs.unfinished import BEST
from slt_cache.runs.variants import BASELINE, MODELS, VISUAL
from slt_cache.training.logs import METRICS_FILE, read_metrics


@dataclass(frozen=True)
class Delta:
    """Difference in BLEU-4 between two models of one seed."""

    value: float
    p: float
    """p-value of a paired bootstrap test (metrics/scores.py)."""


@dataclass(frozen=True)
class Costs:
    """Costs of a row's own training, by seed; without stage 1 and pre-training."""

    seconds: MeanAndStd
    memory_gigabytes: MeanAndStd | None
    """Peak memory, 10^9 bytes (checkpoints/record.py); None for the trainings of an earlier version."""
    parameters: Mapping[str, int]
    """Number of parameters: those that are `trained`, and `all`; empty for an earlier version."""


@dataclass(frozen=True)
class StageOne:
    """What stage 1 gave for a row, and how good both stages are on dev."""

    bleu4: MeanAndStd
    """BLEU-4 of stage 1 on test."""
    against: tuple[Delta, ...]
    """Differences in it from the table's baseline row, by seed; empty for that row itself."""
    gaps: Mapping[str, MeanAndStd]
    """Video gap of the best weights on dev, by the keys of metrics/video_gap.py that all seeds have."""
    opened: tuple[int | None, ...]
    """First evaluated epoch in which the model saw the video, by seed; None if in none."""
    seconds: MeanAndStd
    dev: MeanAndStd
    """BLEU-4 of both stages on dev, by which a row is chosen."""

    @property
    def is_judged(self) -> bool:
        """Whether dev has enough clips to say that a model sees the video."""
        return LOW in self.gaps


@dataclass(frozen=True)
class RowResult:
    """A row of the paper with our measurements."""

    row: Row
    scores: dict[str, MeanAndStd]
    """Scores by the keys of IN_PAPER."""
    baseline: MeanAndStd | None
    """BLEU-4 of the Light-T baseline, trained further on the same cache."""
    against_baseline: tuple[Delta, ...]
    """Differences from the Light-T baseline, by seed; empty if there is none."""
    against: tuple[Delta, ...]
    """Differences from the table's baseline row, by seed; empty for that row itself."""
    hours: MeanAndStd | None
    """Hours of stage 1 on this machine."""
    costs: Costs | None = None
    """None for a table without them."""
    stage_1: StageOne | None = None
    """None for a table without it."""

    @property
    def bleu4(self) -> float:
        return self.scores["bleu4"].mean


@dataclass(frozen=True)
class TableResult:
    table: Table
    rows: tuple[RowResult, ...]
    clips: int
    """Clips of the test split."""
    signature: str
    """Signature of BLEU-4."""
    trained: str
    """When its last model was trained: ISO 8601, UTC."""
    between: Mapping[tuple[int, int], tuple[Delta, ...]] = field(default_factory=dict)
    """Differences in BLEU-4 of two rows, by their places in ascending order: first minus second, by seed."""

    @property
    def chosen(self) -> RowResult | None:
        """Row with the highest dev BLEU-4 of both stages, the first of equal ones; None for a table without stage 1."""
        found = [one for one in self.rows if one.stage_1 is not None]
        return max(found, key=lambda one: one.stage_1.dev.mean if one.stage_1 else 0.0, default=None)

    def leader(self, one: int, other: int) -> int | None:
        """Returns which of two rows, by their places, has the higher BLEU-4; None unless the difference is significant
        and has the same sign for every seed."""
        first, second = sorted((one, other))
        differences = self.between.get((first, second)) or self._from_scores(first, second)
        if not all(found.value for found in differences) or significant(differences) < len(differences):
            return None
        return first if differences[0].value > 0 else second

    def _from_scores(self, first: int, second: int) -> tuple[Delta, ...]:
        """Returns the differences of the rows' scores if the pair was not tested."""
        ours, theirs = self.rows[first], self.rows[second]
        if second == self.table.against:
            return ours.against
        if first == self.table.against:
            return tuple(Delta(-found.value, found.p) for found in theirs.against)
        pairs = zip(ours.scores["bleu4"].values, theirs.scores["bleu4"].values, strict=True)
        return tuple(Delta(value - other, 0.0) for value, other in pairs)

    @property
    def pairs(self) -> int:
        """Number of pairs of rows for which the paper gives numbers."""
        return len(self._comparable())

    @property
    def agreeing(self) -> int:
        """Number of pairs of rows that are significantly in the paper's order by BLEU-4."""
        return sum(self.leader(*pair) == self._papers_leader(*pair) for pair in self._comparable())

    @property
    def undecided(self) -> int:
        """Number of pairs of rows whose difference is not significant."""
        return sum(self.leader(*pair) is None for pair in self._comparable())

    def _comparable(self) -> list[tuple[int, int]]:
        places = [place for place, one in enumerate(self.rows) if one.row.bleu4 is not None]
        return list(combinations(places, 2))

    def _papers_leader(self, one: int, other: int) -> int:
        return max(one, other, key=lambda place: self.rows[place].row.bleu4 or 0.0)


def significant(differences: Sequence[Delta]) -> int:
    """Counts the seeds whose difference is significant and has the sign of the mean."""
    middle = mean(one.value for one in differences)
    return sum(one.p < SIGNIFICANT and one.value * middle > 0 for one in differences)


def result_of(table: Table, seeds: Sequence[int], root: Path, config: Config) -> TableResult:
    """Reads the evaluations of a table; all its steps must have been done."""
    rows, signature, clips, trained = [], "", 0, ""
    between = {
        (first, second): _differences(root, seeds, table.rows[first], table.rows[second], config)
        for first, second in combinations(range(len(table.rows)), 2)
    }
    for place, row in enumerate(table.rows):
        found = [_evaluation(root, seed, row, config) for seed in seeds]
        light_t = _baseline_of(row, root, config)
        baselines = [_evaluation(root, seed, light_t, config) for seed in seeds] if light_t else []
        scores = {key: MeanAndStd(tuple(one["scores"][key] for one in found)) for key in IN_PAPER}
        signature, clips = found[0]["signatures"]["bleu4"], found[0]["clips"]
        trained = max(trained, *(one["made_from"]["weights"]["finished_at"] for one in [*found, *baselines]))
        rows.append(
            RowResult(
                row,
                scores,
                baseline=MeanAndStd(tuple(one["scores"]["bleu4"] for one in baselines)) if baselines else None,
                against_baseline=_differences(root, seeds, row, light_t, config) if light_t else (),
                against=_seen_from(between, place, table.against),
                hours=_hours(root, seeds, row, config) if table.hours else None,
                costs=_costs(root, seeds, row, config) if table.costs else None,
                stage_1=_stage_1(root, seeds, row, table, config) if table.stage_1 else None,
            )
        )
    return TableResult(table, tuple(rows), clips, signature, trained, between)


def _seen_from(between: Mapping[tuple[int, int], tuple[Delta, ...]], place: int, other: int) -> tuple[Delta, ...]:
    """Returns the differences of one row from another; none from itself."""
    if place == other:
        return ()
    if place < other:
        return between[place, other]
    return tuple(Delta(-found.value, found.p) for found in between[other, place])


def _baseline_of(row: Row, root: Path, config: Config) -> Row | None:
    """Returns the Light-T baseline on the cache that the row's model reads; None if it reads videos, or is stage 1."""
    if not MODELS[row.model].from_cache:
        return None
    return replace(row, variant=folder_of(root, 0, row.variant, config).of_cache.variant, model=BASELINE.name)


def _folder(root: Path, seed: int, row: Row, config: Config) -> Path:
    return run_of(folder_of(root, seed, row.variant, config), config).evaluation


def _evaluation(root: Path, seed: int, row: Row, config: Config) -> dict[str, Any]:
    return read_signed(_folder(root, seed, row, config) / f"{file_stem(row.model, 'test')}.json")


def _differences(root: Path, seeds: Sequence[int], row: Row, other: Row, config: Config) -> tuple[Delta, ...]:
    """Returns the differences in BLEU-4 between two rows, by seed."""
    found = []
    for seed in seeds:
        table, other_table = (
            read_table(_folder(root, seed, one, config) / f"{file_stem(one.model, 'test')}.tsv") for one in (row, other)
        )
        others = {one.clip_id: one.hypothesis for one in other_table}
        ours, theirs = [one.hypothesis for one in table], [others[one.clip_id] for one in table]
        references = [one.reference for one in table]
        test = compare(ours, theirs, references, preset_of(config), choices_of(config), metrics=("bleu4",))["bleu4"]
        found.append(Delta(test.value - test.other, test.p))
    return tuple(found)


def _costs(root: Path, seeds: Sequence[int], row: Row, config: Config) -> Costs:
    places = [folder_of(root, seed, row.variant, config) for seed in seeds]
    found = [read_record(run_of(place, config, row.model).folder / row.model / BEST) for place in places]
    records = [record for record in found if record is not None]
    memory = [record.memory_bytes / GIGABYTE for record in records if record.memory_bytes]
    return Costs(
        MeanAndStd(tuple(record.seconds for record in records)),
        MeanAndStd(tuple(memory)) if len(memory) == len(records) else None,
        records[0].parameters,
    )


def _stage_1(root: Path, seeds: Sequence[int], row: Row, table: Table, config: Config) -> StageOne:
    own, baseline = (replace(one, model=VISUAL.name) for one in (row, table.rows[table.against]))
    folders = [run_of(folder_of(root, seed, row.variant, config), config).folder for seed in seeds]
    found = [(read_record(folder / VISUAL.name / BEST), read_record(folder / row.model / BEST)) for folder in folders]
    records = [(visual, model) for visual, model in found if visual is not None and model is not None]
    gaps = [visual.video_gap for visual, _ in records]
    of_all = [key for key in (GAP, SWAPPED, LOW) if all(key in gap for gap in gaps)]
    return StageOne(
        MeanAndStd(tuple(_evaluation(root, seed, own, config)["scores"]["bleu4"] for seed in seeds)),
        () if own == baseline else _differences(root, seeds, own, baseline, config),
        {key: MeanAndStd(tuple(gap[key] for gap in gaps)) for key in of_all},
        tuple(_opened(folder / VISUAL.name) for folder in folders),
        MeanAndStd(tuple(visual.seconds for visual, _ in records)),
        MeanAndStd(tuple((model.dev or {}).get("bleu4", 0.0) for _, model in records)),
    )


def _opened(folder: Path) -> int | None:
    lines = (line for line in read_metrics(folder / METRICS_FILE) if line["kind"] == "epoch")
    return next((line["epoch"] for line in lines if sees_video(line)), None)


def _hours(root: Path, seeds: Sequence[int], row: Row, config: Config) -> MeanAndStd | None:
    steps = [Step(folder_of(root, seed, row.variant, config), "visual") for seed in seeds]
    seconds = [seconds_of(step, config) for step in steps]
    return MeanAndStd(tuple(one / 3600 for one in seconds if one is not None)) if None not in seconds else None
