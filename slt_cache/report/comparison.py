"""Evaluations side by side: how far one's scores lie from another's, and whether by more than chance."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from slt_cache.metrics.scores import RESAMPLES, Comparison, compare
from slt_cache.report.lines import Chart, Series, draw_lines
from slt_cache.report.model_colours import css_colour_of
from slt_cache.report.trainings import dev_axis, read_trainings
from slt_cache.runs.evaluations import FEWEST_TO_COMPARE, Evaluation, columns_of
from slt_cache.runs.run import Run
from slt_cache.runs.variants import TRAININGS, label_of

SIGNIFICANT = 0.05
SIDE_BY_SIDE = ("visual", "llm")
"""Trainings whose dev scores are drawn for all runs."""


Named = tuple[str, Evaluation]


@dataclass(frozen=True)
class Compared:
    """Evaluations of one split to be compared."""

    title: str
    base: Named
    others: list[Named]
    models: bool
    """Whether they are models of one run, and not one model of several runs."""


@dataclass(frozen=True)
class ComparedRow:
    """One evaluation beside the one that it is compared with."""

    name: str
    scores: Mapping[str, float]
    colour: str = ""
    """In CSS, where the row is a model of the page's own run."""
    tests: Mapping[str, Comparison] = field(default_factory=dict)
    """By metric; `value` is this row's, `other` that of the first row. Empty where no test can be made."""
    untested: str = ""
    """Why; empty in the first row too."""


@dataclass(frozen=True)
class ComparedRows:
    """The first row is what the others are compared with."""

    title: str
    columns: Mapping[str, str]
    rows: list[ComparedRow]

    @property
    def tested(self) -> bool:
        """Whether any row could be compared."""
        return any(row.tests for row in self.rows)

    @property
    def signature(self) -> str:
        return next((test.signature for row in self.rows for test in row.tests.values()), "")


@dataclass(frozen=True)
class RunsBeside:
    """What several runs have side by side besides scores, the report's own run first."""

    names: list[str]
    drawings: list[Markup]
    settings: list[tuple[str, list[str]]]
    """Settings that differ, and their value in each run."""


def rival_models(evaluations: Sequence[Evaluation]) -> list[Compared]:
    """Within a run: on each split the other models against both stages, or against the first where there is none."""
    found = []
    for split in dict.fromkeys(one.split for one in evaluations):
        compared = [one for one in evaluations if one.split == split]
        base = next((one for one in compared if one.model == "llm"), compared[0])
        found.append(Compared(split, (base.name, base), [(one.name, one) for one in compared if one is not base], True))
    return [one for one in found if one.others]


def rival_runs(runs: Sequence[tuple[Run, Sequence[Evaluation]]]) -> list[Compared]:
    """The first against each of the others, wherever both were scored with the same model on the same split."""
    found: dict[tuple[str, str], list[Named]] = {}
    for name, (_, evaluations) in zip(_names([run for run, _ in runs]), runs, strict=True):
        for one in evaluations:
            found.setdefault((one.split, one.model), []).append((name, one))
    return [
        Compared(f"{label_of(model)}, {split}", named[0], named[1:], False)
        for (split, model), named in found.items()
        if len(named) > 1
    ]


def compare_to_paper(runs: Sequence[Run]) -> RunsBeside:
    """Dev scores of all runs in one drawing a stage, and the settings that differ."""
    names = _names(runs)
    drawings = [_dev_drawing(key, names, runs) for key in SIDE_BY_SIDE]
    return RunsBeside(names, [one for one in drawings if one], _settings(runs))


def _names(runs: Sequence[Run]) -> list[str]:
    """Of their folders; with the path where two are called the same."""
    short = [run.folder.resolve().name for run in runs]
    return [name if short.count(name) == 1 else str(run.folder) for name, run in zip(short, runs, strict=True)]


def compare_evaluations(compared: Compared, tested: Callable[[], None]) -> ComparedRows:
    """`tested` is called after each of the others."""
    _, base = compared.base
    rows = [ComparedRow(compared.base[0], base.scores, css_colour_of(base.model) if compared.models else "")]
    for name, other in compared.others:
        untested = _why_untested(base, other)
        tests = {} if untested else _tests(base, other)
        rows.append(
            ComparedRow(name, other.scores, css_colour_of(other.model) if compared.models else "", tests, untested)
        )
        tested()
    return ComparedRows(compared.title, columns_of([base, *(other for _, other in compared.others)]), rows)


def _why_untested(base: Evaluation, other: Evaluation) -> str:
    """A paired test needs the same sentences, scored alike."""
    if (base.preset, base.choices) != (other.preset, other.choices):
        return f"scored in another way ({other.preset})"
    if base.other_table or other.other_table:
        return "the sentences that were scored are gone"
    ours, theirs = ({one.clip_id: one.reference for one in found.sentences()} for found in (base, other))
    if not ours or not theirs:
        return "its sentences were not kept"
    if ours != theirs:
        return "other clips or references"
    return f"fewer than {FEWEST_TO_COMPARE} clips" if len(ours) < FEWEST_TO_COMPARE else ""


def _tests(base: Evaluation, other: Evaluation) -> dict[str, Comparison]:
    sentences, theirs = base.sentences(), {one.clip_id: one.hypothesis for one in other.sentences()}
    return compare(
        [theirs[one.clip_id] for one in sentences],
        [one.hypothesis for one in sentences],
        [one.reference for one in sentences],
        base.preset,
        base.choices,
        RESAMPLES,
        metrics=[key for key in base.scores if key in other.scores],
    )


def _dev_drawing(key: str, names: Sequence[str], runs: Sequence[Run]) -> Markup:
    """In the metric that decided the best weights of the first run that has the training."""
    trainings = [next((one for one in read_trainings(run) if one.key == key), None) for run in runs]
    metric = next((one.metric for one in trainings if one is not None), None)
    if metric is None:
        return Markup()
    series = [
        Series(name, () if one is None else one.dev_in(metric)) for name, one in zip(names, trainings, strict=True)
    ]
    title = f"{TRAININGS[key].training}: dev {metric.label} over epochs, by run"
    return draw_lines(
        Chart(f"runs-{key}", title, f"epoch of {TRAININGS[key].stage}", dev_axis(metric), tuple(series), points=True)
    )


def _settings(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    flat = [dict(_flat(run.config.model_dump(mode="json"))) for run in runs]
    keys = dict.fromkeys(key for settings in flat for key in settings)
    values = {key: [str(settings.get(key, "–")) for settings in flat] for key in keys}
    return [(key, shown) for key, shown in values.items() if len(set(shown)) > 1]


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in settings.items():
        found += _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [(f"{prefix}{key}", value)]
    return found
