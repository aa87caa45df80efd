"""Renders results of tables as a self-contained HTML page in the style of the report: rows, verdicts and curves."""

from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from markupsafe import Markup

from slt_cache.config import Config
from slt_cache.corpora.registry import corpus_of
from slt_cache.files import write_text
from slt_cache.metrics.registry import IN_PAPER, METRICS
from slt_cache.report.lines import Chart, Series, draw_lines
from slt_cache.report.template import colour_of, render
from slt_cache.reproduce.datasize import DATASIZE, share_of
from slt_cache.reproduce.norms import KINDS
from slt_cache.reproduce.render import against, more_columns, more_text, number_text, spread_text, verdict
from slt_cache.reproduce.results import RowResult, TableResult
from slt_cache.reproduce.tables import BASE
from slt_cache.reproduce.variants import RunFolder, folder_of, run_of
from slt_cache.runs.variants import BASELINE
from slt_cache.training.diagnostics import ENCODER, LLM
from slt_cache.training.logs import read_metrics

FIGURE_4 = "fig4"


def write_page(
    path: Path,
    results: Sequence[TableResult],
    origins: Mapping[str, str],
    norms: Sequence[str],
    seeds: Sequence[int],
    root: Path,
    config: Config,
) -> None:
    """Writes the page. `origins` say how each table was made; `norms` are the lines of figure 2, if requested."""
    colours = _colours(results)
    tables = [_table(result, origins[result.table.name], seeds, root, config, colours) for result in results]
    if norms:
        drawings = _norm_drawings(folder_of(root, seeds[0], BASE, config), config)
        title = "gradient and parameter norms of joint training"
        tables.append(
            {
                "name": "fig2",
                "title": title,
                "rows": [],
                "lines": norms,
                "drawings": drawings,
                "hours": False,
                "costs": [],
            }
        )
    drawn = corpus_of(config).is_drawn
    values = {
        "corpus": f"{config.corpus.name}, difficulty {config.corpus.difficulty}" if drawn else config.corpus.name,
        "drawn": drawn,
        "seeds": list(seeds),
        "metrics": [METRICS[key].heading for key in IN_PAPER],
        "tables": tables,
        "signature": results[0].signature if results else "",
    }
    write_text(path, render("reproduce.html.jinja", values))


Colours = Mapping[tuple[str, str], int]
"""Colours in all drawings, by variant and model."""


def _colours(results: Sequence[TableResult]) -> Colours:
    """Assigns colours: models with the run's own settings have those of its report; the others get the remaining ones,
    and then the same ones again with other dashes."""
    rows = dict.fromkeys((found.row.variant, found.row.model) for result in results for found in result.rows)
    known = {key: colour for key in rows if key[0] == BASE and (colour := colour_of(key[1])) is not None}
    left = (colour for colour in count() if colour not in known.values())
    return known | {key: next(left) for key in rows if key not in known}


def _table(
    result: TableResult, origin: str, seeds: Sequence[int], root: Path, config: Config, colours: Colours
) -> dict[str, Any]:
    return {
        "name": result.table.name,
        "title": result.table.title,
        "rows": [_row(result, found) for found in result.rows],
        "lines": [*verdict(result), origin],
        "hours": result.table.hours,
        "costs": list(more_columns(result.table)),
        "drawings": _drawings(result, folder_of(root, seeds[0], BASE, config), config, colours),
    }


def _row(result: TableResult, found: RowResult) -> dict[str, Any]:
    return {
        "label": found.row.label,
        "reference": found is result.rows[result.table.against],
        "scores": [spread_text(found.scores[key]) for key in IN_PAPER],
        "baseline": spread_text(found.baseline) if found.baseline else "-",
        "against": against(result, found),
        "paper_rouge_l": number_text(found.row.rouge_l),
        "paper_bleu4": number_text(found.row.bleu4),
        "hours": f"{found.hours.mean:.2f}" if found.hours else "",
        "costs": more_text(found),
    }


def _drawings(result: TableResult, base: RunFolder, config: Config, colours: Colours) -> list[Markup]:
    """Draws dev BLEU-4 during the trainings of the first seed; for figure 4 also test BLEU-4 over epochs."""
    drawings = [_dev_drawing(result, base, config, colours)]
    if result.table.name == FIGURE_4:
        points = tuple((float(found.row.variant.rpartition("-")[2]), found.bleu4) for found in result.rows)
        drawings.append(
            draw_lines(
                Chart(
                    key="fig4-epochs",
                    title="test BLEU-4 of both stages over epochs of stage 1",
                    x_label="epochs of stage 1",
                    y_label="test BLEU-4 (0 to 100)",
                    series=(Series("both stages", points, colour_of("llm")),),
                    points=True,
                    marked="highest",
                )
            )
        )
    if result.table.name == DATASIZE:
        drawings.append(_datasize_drawing(result, config))
    return [drawing for drawing in drawings if drawing]


def _datasize_drawing(result: TableResult, config: Config) -> Markup:
    def over_shares(scores: Mapping[str, float]) -> tuple[tuple[float, float], ...]:
        return tuple((100 * share_of(variant, config), score) for variant, score in scores.items())

    of_model = {
        model: {found.row.variant: found.bleu4 for found in result.rows if found.row.model == model}
        for model in ("visual", "llm")
    }
    baseline = {found.row.variant: found.baseline.mean for found in result.rows if found.baseline}
    lines = {"stage 1": ("visual", of_model["visual"]), "Light-T baseline": (BASELINE.name, baseline)}
    lines["both stages"] = ("llm", of_model["llm"])
    return draw_lines(
        Chart(
            key="datasize-test",
            title="test BLEU-4 over the share of the train clips",
            x_label="train clips (%)",
            y_label="test BLEU-4 (0 to 100)",
            series=tuple(Series(name, over_shares(one), colour_of(model)) for name, (model, one) in lines.items()),
            points=True,
        )
    )


def _dev_drawing(result: TableResult, base: RunFolder, config: Config, colours: Colours) -> Markup:
    series = []
    for found in result.rows:
        run = run_of(base.with_variant(found.row.variant), config)
        lines = read_metrics(run.folder / found.row.model / "metrics.jsonl")
        dev = ((line["epoch"], line["dev"]["bleu4"]) for line in lines if line["kind"] == "epoch" and line["dev"])
        series.append(Series(found.row.label, tuple(dev), colours[found.row.variant, found.row.model]))
    return draw_lines(
        Chart(
            key=f"{result.table.name}-dev",
            title=f"{result.table.name}: dev BLEU-4 over the epochs of each training",
            x_label=f"epoch (seed {base.seed})",
            y_label="dev BLEU-4 (0 to 100)",
            series=tuple(series),
        )
    )


def _norm_drawings(base: RunFolder, config: Config) -> list[Markup]:
    """Draws the norms of figure 2 of the paper."""
    lines = [line for line in read_metrics(base.folder / "joint" / "metrics.jsonl") if line["kind"] == "step"]

    def points(key: str) -> tuple[tuple[float, float], ...]:
        return tuple((line["step"], line[key]) for line in lines if key in line)

    return [
        draw_lines(
            Chart(
                key=f"fig2-{key}",
                title=f"{what} norm of the last layers of encoder and LLM over update steps",
                x_label=f"update step (seed {base.seed})",
                y_label=f"{what} norm",
                series=(
                    Series("LLM", points(f"{key}/{LLM}"), inked=True),
                    Series("encoder", points(f"{key}/{ENCODER}"), inked=True),
                ),
                logarithmic=True,
            )
        )
        for key, what in KINDS.items()
    ]
