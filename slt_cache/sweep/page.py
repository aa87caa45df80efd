"""The page of a sweep: what each setting was worth, parallel coordinates, best curves, all trials."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from slt_cache.files import write_text
from slt_cache.report.lines import Chart, Series, draw_lines
from slt_cache.report.parallel import Axis, Line, draw_parallel
from slt_cache.report.template import render
from slt_cache.sweep.results import Results, Trial, lines_of, text_of
from slt_cache.sweep.space import Range

CURVES = 8
"""Most trials whose dev curves are drawn."""


def write_page(results: Results, path: Path) -> None:
    """Writes the page, which loads nothing."""
    sweep, rate = results.sweep, results.trials_an_hour
    names = list(results.importances or sweep.space)
    ranked = sorted(results.trials, key=lambda trial: _worst(results) if trial.value is None else trial.value)
    ranked = ranked if sweep.metric.lower_is_better else ranked[::-1]
    values = {
        "name": sweep.folder.name,
        "counts": ", ".join(f"{count} {state}" for state, count in results.counts.items() if count),
        "rate": "" if rate is None else f"{rate:.1f}",
        "label": sweep.metric.label,
        "lines": [line for line in lines_of(results)[1:] if not line.startswith("  ")],
        "rows": [_row(results, name) for name in names] if results.best else [],
        "parallel": _parallel(results, names),
        "drawings": [one for one in (_best_so_far(results), _dev_curves(results)) if one],
        "names": names,
        "trials": [_shown(trial, names) for trial in ranked],
    }
    write_text(path, render("sweep.html.jinja", values))


def _worst(results: Results) -> float:
    return float("inf") if results.sweep.metric.lower_is_better else float("-inf")


def _row(results: Results, name: str) -> dict[str, Any]:
    share = results.importances.get(name)
    return {
        "name": name,
        "best": text_of(results.best[0].settings[name]),
        "own": text_of(results.own_value(name)),
        "worth": "-" if share is None else f"{share:.0%}",
        "share": share,
    }


def _shown(trial: Trial, names: Sequence[str]) -> dict[str, Any]:
    return {
        "number": trial.number,
        "value": "-" if trial.value is None else f"{trial.value:.2f}",
        "state": trial.error or trial.state,
        "seconds": f"{trial.seconds:.0f}",
        "settings": [text_of(trial.settings[name]) if name in trial.settings else "-" for name in names],
    }


def _parallel(results: Results, names: Sequence[str]) -> Markup:
    scored = [trial for trial in results.trials if trial.value is not None and set(names) <= set(trial.settings)]
    scores = [trial.value or 0.0 for trial in scored]
    if not scores:
        return Markup("")
    score = Axis(f"dev {results.sweep.metric.label}", min(scores), max(scores))
    best = results.best[0].number if results.best else None
    lines = []
    for trial in sorted(scored, key=lambda trial: (trial.number == best, _quality(results, trial, score))):
        settings = tuple(_on_axis(results, name, trial) for name in names)
        title = f"trial {trial.number} ({trial.state}): {trial.value:.2f}"
        shade = _quality(results, trial, score)
        lines.append(Line(title, (*settings, trial.value or 0.0), shade, marked=trial.number == best))
    axes = [_axis(results, name) for name in names]
    return draw_parallel([*axes, score], lines, f"settings and dev {results.sweep.metric.label} of each trial")


def _quality(results: Results, trial: Trial, score: Axis) -> float:
    height = score.height(trial.value or 0.0)
    return 1 - height if results.sweep.metric.lower_is_better else height


def _axis(results: Results, name: str) -> Axis:
    searched, short = results.sweep.space[name], name.rpartition(".")[2]
    if isinstance(searched, Range):
        return Axis(short, searched.low, searched.high, searched.log)
    return Axis(short, words=searched.values)


def _on_axis(results: Results, name: str, trial: Trial) -> float | str:
    searched, value = results.sweep.space[name], trial.settings[name]
    return float(value) if isinstance(searched, Range) else searched.named(value)


def _best_so_far(results: Results) -> Markup:
    """Draws the best dev score after each trial."""
    label = results.sweep.metric.label
    return draw_lines(
        Chart(
            key="sweep-best",
            title=f"best dev {label} after each trial",
            x_label="trial",
            y_label=f"best dev {label} so far",
            series=(Series("best so far", tuple(_running_best(results)), inked=True),),
            points=True,
        )
    )


def _running_best(results: Results) -> Iterator[tuple[float, float]]:
    better = min if results.sweep.metric.lower_is_better else max
    best: float | None = None
    for trial in results.trials:
        if trial.state == "complete" and trial.value is not None:
            best = trial.value if best is None else better(best, trial.value)
            yield float(trial.number), best


def _dev_curves(results: Results) -> Markup:
    label = results.sweep.metric.label
    return draw_lines(
        Chart(
            key="sweep-dev",
            title=f"dev {label} over the epochs of the best trials",
            x_label="epoch",
            y_label=f"dev {label} during training",
            series=tuple(Series(f"trial {trial.number}", trial.evaluations) for trial in results.best[:CURVES]),
        )
    )
