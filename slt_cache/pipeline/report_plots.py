"""The pictures of the report page: metrics.jsonl -> curves as SVG markup, a clip -> JPEG data URIs. Writes no file.

The SVG carries no colour, font or id of its own beyond what it needs: it takes the page's text colour and its CSS
variables, so that one drawing serves light and dark, and several drawings stand in one page."""

import base64
import html
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from slt_cache.checkpoints.record import Record, read_record
from slt_cache.config import VideoConfig
from slt_cache.corpora.clips import Clip
from slt_cache.pipeline.run import Run
from slt_cache.training.metrics_log import read_metrics
from slt_cache.video.frames import read_kept_frames

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TRAININGS = {
    "visual": "stage 1: visual encoder and Light-T",
    "llm/pretrained": "pre-training of the MBart on text alone",
    "llm": "stage 2: the LLM from the cache",
    "llm-from-scratch": "stage 2 without pre-training",
    "control": "control: Light-T trained on over the same cache",
}
"""Folders of the run, and what was trained in each."""
NOT_DRAWN = "llm/pretrained"
"""Trained on another task with another loss: its curve would say nothing beside the others."""

FRAME_HEIGHT = 64
"""Pixels."""
MAX_FRAMES = 10
JPEG_QUALITY = 80

FIGURE_INCHES = (4.6, 2.3)
FONT_POINTS = 9
NICE_STEPS = (1, 2, 5, 10)
"""Of the numbers along an axis, times a power of ten."""
TEXT, RULE, CURVE, BEST = "#010101", "#020202", "#030303", "#040404"
"""Stand-ins that no drawing shows: the page's own colours take their places."""
PAGE_COLOURS = {TEXT: "currentColor", RULE: "var(--rule)", CURVE: "var(--curve)", BEST: "var(--accent)"}


@dataclass(frozen=True)
class Curve:
    """One line of figures; `key` is part of the SVG's ids and must be its own on the page."""

    key: str
    title: str
    """What the picture shows, for those who cannot see it."""
    x_label: str
    y_label: str
    points: tuple[tuple[float, float], ...]
    """(x, y), ascending in x."""


@dataclass(frozen=True)
class Training:
    """One stage's log and record."""

    key: str
    """Its folder in the run; one of TRAININGS."""
    lines: list[dict[str, Any]]
    """Of metrics.jsonl."""
    record: Record | None

    @property
    def name(self) -> str:
        return TRAININGS[self.key]


@dataclass(frozen=True)
class Filmstrip:
    """Some of a clip's kept frames."""

    images: tuple[str, ...]
    """JPEG data URIs, FRAME_HEIGHT pixels high."""
    kept: int
    """T', of which the images are an even choice."""


def read_trainings(run: Run) -> list[Training]:
    """What was trained in the run, or is being trained."""
    found = [
        Training(key, read_metrics(run.folder / key / "metrics.jsonl"), read_record(run.folder / key / "best"))
        for key in TRAININGS
    ]
    return [one for one in found if one.lines or one.record]


def draw_curves(trainings: Sequence[Training]) -> list[dict[str, str]]:
    """A loss and a dev picture for each training; all losses share one axis, and so do all dev scores."""
    trainings = [one for one in trainings if one.key != NOT_DRAWN]
    losses = {one.key: _loss_curve(one) for one in trainings}
    scores = {one.key: _dev_curve(one) for one in trainings}
    loss_top = _common_top(list(losses.values()), step=1)
    score_top = _common_top(list(scores.values()), step=10)
    return [
        {
            "name": one.name,
            "loss": _draw(losses[one.key], loss_top, mark_best=False),
            "dev": _draw(scores[one.key], score_top, mark_best=True) if scores[one.key].points else "",
        }
        for one in trainings
        if losses[one.key].points
    ]


def _loss_curve(training: Training) -> Curve:
    """Of every logging step; a training too short to have any is drawn by its epochs."""
    steps = [line for line in training.lines if line["kind"] == "step"] or training.lines
    points = tuple((line["step"], line["loss"]) for line in steps)
    title = f"{training.name}: training loss over update steps"
    return Curve(f"{training.key}-loss", title, "update step", "loss (nats per token)", points)


def _dev_curve(training: Training) -> Curve:
    epochs = [line for line in training.lines if line["kind"] == "epoch" and "bleu4" in line["dev"]]
    points = tuple((line["epoch"], line["dev"]["bleu4"]) for line in epochs)
    title = f"{training.name}: dev BLEU-4 over epochs"
    return Curve(f"{training.key}-dev", title, "epoch", "dev BLEU-4 (0 to 100)", points)


def _common_top(curves: Sequence[Curve], step: float) -> float:
    """The end of the axis that all of these share: the next multiple of `step`."""
    highest = max((y for curve in curves for _, y in curve.points if math.isfinite(y)), default=0.0)
    return max(math.ceil(highest / step), 1) * step


def _draw(curve: Curve, top: float, mark_best: bool) -> str:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.fonttype": "none", "svg.hashsalt": curve.key, "font.size": FONT_POINTS}):
        figure = Figure(figsize=FIGURE_INCHES, layout="constrained")
        axes = figure.subplots()
        axes.plot(*zip(*curve.points, strict=True), color=CURVE, linewidth=1.6, solid_capstyle="round")
        if mark_best:
            _mark(axes, curve)
        elif len(curve.points) == 1:
            axes.plot(*curve.points[0], "o", color=CURVE, markersize=3)
        _style(axes, curve, top)
        drawing = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(drawing, format="svg", transparent=True, metadata=nothing)
    return _for_page(drawing.getvalue(), curve.title)


def _mark(axes: "Axes", curve: Curve) -> None:
    axes.plot(*zip(*curve.points, strict=True), "o", color=CURVE, markersize=3)
    x, y = max(curve.points, key=lambda point: point[1])
    axes.plot(x, y, "o", color=BEST, markersize=6)
    side: Literal["left", "right"] = "right" if x > curve.points[0][0] else "left"
    axes.annotate(f"{y:.1f}", (x, y), (0, -7), textcoords="offset points", color=BEST, weight="bold", ha=side, va="top")


def _style(axes: "Axes", curve: Curve, top: float) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_ylim(0, top * 1.04)
    axes.set_xlabel(curve.x_label, color=TEXT)
    axes.set_ylabel(curve.y_label, color=TEXT)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True, min_n_ticks=1, steps=NICE_STEPS))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=NICE_STEPS))
    axes.tick_params(length=0, pad=4, labelcolor=TEXT)
    axes.grid(axis="y", color=RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_edgecolor(RULE)


def _for_page(svg: str, title: str) -> str:
    """Markup that scales with its column and takes the page's colours and font."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)  # would hold for the whole page
    used = set(re.findall(r"#([\w.]+)[\")]", svg))
    # The others (figure_1, axes_1 ...) are the same in every drawing; these are salted with the curve's key.
    svg = re.sub(r' id="([^"]*)"', lambda found: found.group() if found.group(1) in used else "", svg)
    svg = re.sub(r"font-family: [^;\"]*;?", "", svg)
    svg = re.sub(r"font: (bold |[0-9]+ )?([0-9.]+px) [^;\"]*", r"font-size: \2; font-weight: \1", svg)
    for stand_in, colour in PAGE_COLOURS.items():
        svg = svg.replace(stand_in, colour)
    box = re.search(r'viewBox="[^"]*"', svg)
    assert box is not None
    return re.sub(r"<svg[^>]*>", f'<svg {box.group()} role="img" aria-label="{html.escape(title)}">', svg, count=1)


def read_filmstrip(clip: Clip, video: VideoConfig) -> Filmstrip:
    """At most MAX_FRAMES of the clip's kept frames, the first and the last among them. Raises UnreadableVideo."""
    frames = read_kept_frames(clip, video.keep_every, fps=video.fps).frames  # [T', H, W, 3]
    count = min(len(frames), MAX_FRAMES)
    chosen = [round(number * (len(frames) - 1) / max(count - 1, 1)) for number in range(count)]
    return Filmstrip(tuple(_jpeg(frames[index]) for index in chosen), len(frames))


def _jpeg(frame: np.ndarray) -> str:
    from PIL import Image

    height, width = frame.shape[:2]
    size = (max(round(width * FRAME_HEIGHT / height), 1), FRAME_HEIGHT)
    file = io.BytesIO()
    Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS).save(file, "JPEG", quality=JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")
