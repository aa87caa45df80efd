"""Compares evaluations: differences between their scores, and whether these are significant."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from slt_cache.metrics.registry import of_text
from slt_cache.metrics.scores import RESAMPLES, Comparison, compare
from slt_cache.report.lines import Chart, Series, draw_lines
from slt_cache.report.template import css_colour_of
from slt_cache.report.trainings import dev_axis, read_trainings
from slt_cache.runs.evaluations import FEWEST_TO_COMPARE, Evaluation, columns_of
from slt_cache.runs.run import Run
from slt_cache.runs.side_by_side import names_of, settings_that_differ
from slt_cache.runs.variants import TRAININGS, label_of

SIDE_BY_SIDE = ("visual", "llm")
"""Trainings whose dev scores are drawn for all runs."""


Named = tuple[str, Evaluation]


@dataclass(frozen=True)
class Compared:
    """Evaluations of one split to compare."""

    title: str
    base: Named
    others: list[Named]
    models: bool
    """Whether they are models of one run, instead of one model of several runs."""


@dataclass(frozen=True)
class ComparedRow:
    """One evaluation, compared with that of the first row."""

    name: str
    scores: Mapping[str, float]
    colour: str = ""
    """CSS colour if the row is a model of the page's own run."""
    tests: Mapping[str, Comparison] = field(default_factory=dict)
    """Tests by metric; `value` is this row's, `other` that of the first row. Empty if no test is possible."""
    untested: str = ""
    """Reason why there is no test; empty in the first row."""


@dataclass(frozen=True)
class ComparedRows:
    """Compared evaluations; the first row is the baseline."""

    title: str
    columns: Mapping[str, str]
    rows: list[ComparedRow]

    @property
    def tested(self) -> bool:
        """Whether any row was tested."""
        return any(row.tests for row in self.rows)

    @property
    def signature(self) -> str:
        return next((test.signature for row in self.rows for test in row.tests.values()), "")


@dataclass(frozen=True)
class RunComparison:
    """Comparison of several runs apart from scores, the report's own run first."""

    names: list[str]
    drawings: list[Markup]
    settings: list[tuple[str, list[str]]]
    """Settings that differ, with their value in each run."""


def model_comparisons(evaluations: Sequence[Evaluation]) -> list[Compared]:
    """Returns the comparisons within a run: on each split, of the models with both stages, or else with the first."""
    found = []
    for split in dict.fromkeys(one.split for one in evaluations):
        compared = [one for one in evaluations if one.split == split]
        base = next((one for one in compared if one.model == "llm"), compared[0])
        found.append(Compared(split, (base.name, base), [(one.name, one) for one in compared if one is not base], True))
    return [one for one in found if one.others]


def run_comparisons(runs: Sequence[tuple[Run, Sequence[Evaluation]]]) -> list[Compared]:
    """Returns the comparisons of the other runs with the first, for each model and split that both were scored on."""
    found: dict[tuple[str, str], list[Named]] = {}
    for name, (_, evaluations) in zip(names_of([run for run, _ in runs]), runs, strict=True):
        for one in evaluations:
            found.setdefault((one.split, one.model), []).append((name, one))
    return [
        Compared(f"{label_of(model)}, {split}", named[0], named[1:], False)
        for (split, model), named in found.items()
        if len(named) > 1
    ]


def compare_runs(runs: Sequence[Run]) -> RunComparison:
    """Draws the dev scores of all runs, one chart per stage, and lists the settings that differ."""
    names = names_of(runs)
    drawings = [_dev_drawing(key, names, runs) for key in SIDE_BY_SIDE]
    return RunComparison(names, [one for one in drawings if one], settings_that_differ(runs))


def compare_evaluations(compared: Compared, tested: Callable[[], None]) -> ComparedRows:
    """Tests each evaluation against the baseline; `tested` is called after each."""
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
    """Returns why a paired test, which needs the same sentences scored alike, is impossible; empty if it is
    possible."""
    if (base.preset, base.choices) != (other.preset, other.choices):
        return f"scored differently ({other.preset})"
    if base.other_table or other.other_table:
        return "the scored sentences no longer exist"
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
        metrics=of_text(key for key in base.scores if key in other.scores),
    )


def _dev_drawing(key: str, names: Sequence[str], runs: Sequence[Run]) -> Markup:
    """Draws dev scores in the metric that selected the weights of the first run with this training."""
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
