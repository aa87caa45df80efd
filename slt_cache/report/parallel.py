"""Draws parallel coordinates: an axis for each setting and one for the score, and a line through them for each trial,
as markup for a page of this package."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH, HEIGHT = 960, 300
LEFT, RIGHT, TOP, BOTTOM = 70, 90, 34, 22
"""Margins, in units of the drawing, which scales with the page."""
SHOWN_VALUES = 12
"""Most values of an axis that are written next to it."""


@dataclass(frozen=True)
class Axis:
    """An axis of numbers, or of words."""

    name: str
    low: float = 0.0
    high: float = 1.0
    logarithmic: bool = False
    words: tuple[str, ...] = ()
    """Values of an axis of words, from bottom to top; empty for one of numbers."""

    def height(self, value: float | str) -> float:
        """Returns where a value is, from 0 at the bottom to 1."""
        if isinstance(value, str):
            return (self.words.index(value) + 0.5) / len(self.words)
        low, high, at = (math.log(one) if self.logarithmic else one for one in (self.low, self.high, value))
        return (at - low) / (high - low) if high > low else 0.5

    @property
    def marks(self) -> list[tuple[float, str]]:
        """Heights and texts of the values that are written."""
        if self.words:
            return [(self.height(word), word) for word in self.words[:SHOWN_VALUES]]
        return [(self.height(end), f"{end:.3g}") for end in dict.fromkeys((self.low, self.high))]


@dataclass(frozen=True)
class Line:
    """A trial: its place on every axis."""

    title: str
    """Text that appears when one points at it."""
    values: tuple[float | str, ...]
    shade: float
    """From 0, hardly visible, to 1."""
    marked: bool = False


def draw_parallel(axes: Sequence[Axis], lines: Sequence[Line], title: str) -> Markup:
    """Draws the lines in their order, the last on top; empty if there are none."""
    if not lines:
        return Markup("")
    gap = (WIDTH - LEFT - RIGHT) / max(1, len(axes) - 1)
    places = [LEFT + gap * number for number in range(len(axes))]
    parts = [_line(line, axes, places) for line in lines]
    parts += [_axis(axis, x, at_end=axis is axes[-1]) for axis, x in zip(axes, places, strict=True)]
    return Markup(
        f'<figure class="chart"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(title)}" '
        f'font-size="11" fill="none">{"".join(parts)}</svg></figure>'
    )  # texts in it are escaped


def _y(height: float) -> float:
    return HEIGHT - BOTTOM - height * (HEIGHT - TOP - BOTTOM)


def _line(line: Line, axes: Sequence[Axis], places: Sequence[float]) -> str:
    points = " ".join(
        f"{x:.1f},{_y(axis.height(value)):.1f}" for axis, x, value in zip(axes, places, line.values, strict=True)
    )
    colour, width = ("var(--accent)", 3) if line.marked else ("var(--series-1)", 1.2)
    return (
        f'<polyline points="{points}" stroke="{colour}" stroke-width="{width}" '
        f'stroke-opacity="{0.15 + 0.85 * line.shade:.2f}"><title>{html.escape(line.title)}</title></polyline>'
    )


def _axis(axis: Axis, x: float, at_end: bool) -> str:
    side, anchor = (6, "start") if at_end else (-6, "end")
    marks = "".join(
        f'<text x="{x + side:.1f}" y="{_y(height) + 4:.1f}" text-anchor="{anchor}" fill="var(--quiet)">'
        f"{html.escape(text)}</text>"
        for height, text in axis.marks
    )
    name = f'<text x="{x:.1f}" y="14" text-anchor="middle" fill="currentColor">{html.escape(axis.name)}</text>'
    return f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_y(0):.1f}" y2="{_y(1):.1f}" stroke="var(--quiet)"/>{name}{marks}'
