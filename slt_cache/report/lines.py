"""Draws named series of values as a line chart with a legend, as markup for a page of this package.

A drawing uses the page's font, text colour and CSS variables, and unique ids, so that it suits light and dark, and
several drawings fit on one page."""

import html
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INCHES = (4.6, 2.3)
FONT_POINTS = 9
LINE_POINTS = 1.6
NICE_STEPS = (1, 2, 5, 10)
"""Steps between numbers along an axis, times a power of ten."""
TEXT, RULE = "#010101", "#020202"
SERIES = ("#030301", "#030302", "#030303", "#030304", "#030305", "#030306", "#030307", "#030308")
"""Placeholders that are replaced by the page's colours."""
PAGE_COLOURS = {
    TEXT: "currentColor",
    RULE: "var(--rule)",
    **{stand_in: f"var(--series-{number})" for number, stand_in in enumerate(SERIES, 1)},
}
DASHES: tuple[tuple[float, ...], ...] = ((), (4, 1.6), (1.2, 1.4), (6, 1.5, 1.2, 1.5), (8, 2), (2, 1))
"""Dashes of the series in turn, so that they differ not only in colour. In line widths: drawn, left out."""


@dataclass(frozen=True)
class Series:
    """One line of a chart."""

    name: str
    """Name in the legend; a drawing with one series needs none."""
    points: tuple[tuple[float, float], ...]
    """Pairs (x, y), ascending in x."""
    colour: int | None = None
    """Place among the page's colours, for what appears in several drawings; None for the place of the line in this
    one."""
    inked: bool = False
    """Whether it has the text's colour and differs only in dashes, since the page's colours stand for models."""


@dataclass(frozen=True)
class Chart:
    """Content of one drawing."""

    key: str
    """Part of the ids in the drawing; must be unique on the page."""
    title: str
    """Title for those who cannot see the drawing."""
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    """Series in the order of the legend; more than eight share colours, and are hard to distinguish."""
    top: float | None = None
    """End of the y axis, which begins at 0; None for the highest value."""
    logarithmic: bool = False
    """Whether the y axis is logarithmic."""
    logarithmic_x: bool = False
    """Whether the x axis is logarithmic, too."""
    points: bool = False
    """Whether every value gets a dot."""
    marked: Literal["none", "highest", "lowest"] = "none"
    """Which value of each series gets a larger dot."""
    outline: bool = False
    """Whether lines are steps instead of slopes, as in a histogram."""


def draw_lines(chart: Chart) -> Markup:
    """Draws a chart with its legend; empty if no series has points. Values that no axis can show are left out."""
    lines = [_Line(one.name, _drawable(one, chart), *_look(place, one)) for place, one in enumerate(chart.series)]
    shown = [line for line in lines if line.points]
    if not shown:
        return Markup("")
    legend = _legend(shown) if len(chart.series) > 1 else ""
    drawing = _for_page(_drawn(chart, shown), chart.title)
    return Markup(f'<figure class="chart">{drawing}{legend}</figure>')  # texts in both are escaped


Points = list[tuple[float, float]]


@dataclass(frozen=True)
class _Line:
    """A series with its style."""

    name: str
    points: Points
    colour: str
    """Placeholder of the colour."""
    dashes: tuple[float, ...]


def _look(place: int, series: Series) -> tuple[str, tuple[float, ...]]:
    """Returns placeholder colour and dashes; colours repeat with other dashes after the last one."""
    if series.inked:
        return TEXT, DASHES[place % len(DASHES)]
    colour = place if series.colour is None else series.colour
    return SERIES[colour % len(SERIES)], DASHES[(colour + colour // len(SERIES)) % len(DASHES)]


def _drawable(series: Series, chart: Chart) -> Points:
    return [(x, y) for x, y in series.points if math.isfinite(y) and (y > 0 or not chart.logarithmic)]


def _drawn(chart: Chart, lines: list[_Line]) -> str:
    """Returns the SVG with placeholder colours."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.fonttype": "none", "svg.hashsalt": chart.key, "font.size": FONT_POINTS}):
        figure = Figure(figsize=INCHES, layout="constrained")
        axes = figure.subplots()
        for line in lines:
            _plot(axes, chart, line)
        _style(axes, chart)
        if not chart.logarithmic:
            values = [y for line in lines for _, y in line.points]
            reach = max(values) if chart.top is None else chart.top
            axes.set_ylim(min(0, *values) * 1.04, (reach or 1) * 1.04)
        if chart.marked != "none":
            for line in lines:
                _mark(axes, line, lowest=chart.marked == "lowest", number=len(lines) == 1)
        drawing = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(drawing, format="svg", transparent=True, metadata=nothing)
    return drawing.getvalue()


def _plot(axes: "Axes", chart: Chart, line: _Line) -> None:
    axes.plot(
        *zip(*line.points, strict=True),
        color=line.colour,
        linewidth=LINE_POINTS,
        linestyle=(0, line.dashes) if line.dashes else "-",
        drawstyle="steps-mid" if chart.outline else "default",
        marker="o" if chart.points or len(line.points) == 1 else None,
        markersize=3,
    )


def _mark(axes: "Axes", line: _Line, lowest: bool, number: bool) -> None:
    """Marks the highest or lowest value, with its number if the line is the only one, as several might overlap. If all
    values are the same, none is marked."""
    x, y = (min if lowest else max)(line.points, key=lambda point: point[1])
    if len(line.points) > 1 and all(other == y for _, other in line.points):
        return
    axes.plot(x, y, "o", color=line.colour, markersize=6)
    if not number:
        return
    side: Literal["left", "right"] = "right" if x > line.points[0][0] else "left"
    above = y < 0.8 * axes.get_ylim()[1]  # else it would be outside
    axes.annotate(
        f"{y:.1f}",
        (x, y),
        (0, 6 if above else -7),
        textcoords="offset points",
        color=line.colour,
        weight="bold",
        ha=side,
        va="bottom" if above else "top",
    )


def _style(axes: "Axes", chart: Chart) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    axes.set_xlabel(chart.x_label, color=TEXT)
    axes.set_ylabel(chart.y_label, color=TEXT)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True, min_n_ticks=1, steps=NICE_STEPS))
    if chart.logarithmic_x:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axes.xaxis.set_minor_locator(NullLocator())
    if chart.logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=NICE_STEPS[:3], numticks=12))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    else:
        axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=NICE_STEPS))
    axes.tick_params(length=0, pad=4, labelcolor=TEXT)
    axes.grid(axis="y", color=RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_edgecolor(RULE)


def _legend(lines: Sequence[_Line]) -> str:
    """Returns the legend, outside of the drawing so that it can wrap on a narrow page."""
    items = []
    for line in lines:
        dashes = " ".join(f"{2 * length:g}" for length in line.dashes)
        stroke = f'<line x2="26" y1="4" y2="4" stroke="{PAGE_COLOURS[line.colour]}" stroke-dasharray="{dashes}"/>'
        items.append(f'<li><svg viewBox="0 0 26 8" aria-hidden="true">{stroke}</svg>{html.escape(line.name)}</li>')
    return f'<ul class="legend">{"".join(items)}</ul>'


def _for_page(svg: str, title: str) -> str:
    """Returns markup that scales with its column and uses the page's colours and font."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)  # would apply to the whole page
    used = set(re.findall(r"#([\w.]+)[\")]", svg))
    # The others (figure_1, axes_1 ...) are the same in every drawing; these are salted with the drawing's key.
    svg = re.sub(r' id="([^"]*)"', lambda found: found.group() if found.group(1) in used else "", svg)
    svg = re.sub(r"font-family: [^;\"]*;?", "", svg)
    svg = re.sub(r"font: (bold |[0-9]+ )?([0-9.]+px) [^;\"]*", r"font-size: \2; font-weight: \1", svg)
    for stand_in, colour in PAGE_COLOURS.items():
        svg = svg.replace(stand_in, colour)
    box = re.search(r'viewBox="[^"]*"', svg)
    assert box is not None
    return re.sub(r"<svg[^>]*>", f'<svg {box.group()} role="img" aria-label="{html.escape(title)}">', svg, count=1)
