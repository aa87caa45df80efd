"""Plots of a feature cache: statistics in, one PNG, SVG or PDF file out. Opens no cache and no window."""

import textwrap
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slt_cache.cache_tools.inspect import ShownClip
from slt_cache.colours import INK, LIGHT
from slt_cache.errors import InputError
from slt_cache.features.spec import IMPORTED
from slt_cache.files import replacing
from slt_cache.progress import log

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")
DOTS_PER_INCH = 150
WIDTH_INCHES = 6.4
SPLIT_INCHES = 1.7
"""Height of the histogram of one split."""
SQUARE_INCHES = 5.6
MAX_BINS = 40
TITLE_CHARACTERS = 60
"""Longest line of a title."""
DEEPEST = "#04302c"
"""Darkest colour of the similarity map: close to 1 differences are small, and ink alone would not show them."""
FONTS = ("DejaVu Sans", "Noto Sans CJK SC", "Noto Sans SC", "WenQuanYi Zen Hei", "Microsoft YaHei", "PingFang SC")
"""Fonts in order of preference, if installed: the first comes with matplotlib, the others have Chinese characters."""
STYLE: dict[Any, Any] = {
    "figure.facecolor": LIGHT["card"],  # never transparent: dark letters would vanish on a dark page
    "axes.facecolor": LIGHT["card"],
    "axes.edgecolor": LIGHT["rule"],
    "axes.labelcolor": LIGHT["text"],
    "axes.titlecolor": LIGHT["text"],
    "text.color": LIGHT["text"],
    "xtick.color": LIGHT["quiet"],
    "ytick.color": LIGHT["quiet"],
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "grid.color": LIGHT["rule"],
    "axes.axisbelow": True,
    "figure.titlesize": 11,
    "axes.titlesize": 10,
    "svg.fonttype": "none",
}
"""Colours of the report's light theme; a plot has its own background, whatever page it is put on."""


def require_image(path: Path | None) -> None:
    """Raises InputError for a file name without the suffix of an image, before any work is done."""
    if path is not None and path.suffix.lower() not in SUFFIXES:
        raise InputError(f"--plot {path}: not an image file. Use a name that ends in {', '.join(SUFFIXES)}.")


def draw_lengths(steps: Mapping[str, np.ndarray], title: str, path: Path) -> None:
    """Draws a histogram of N for each split, all on the same axis."""
    from matplotlib.ticker import MaxNLocator

    shown = {split: lengths for split, lengths in steps.items() if len(lengths)}
    if not shown:
        raise InputError(f"{title}: no clips, so there is nothing to draw.")
    with _figure(path, (WIDTH_INCHES, 0.9 + SPLIT_INCHES * len(shown))) as figure:
        figure.suptitle(_wrapped(title), parse_math=False)
        every = np.concatenate(list(shown.values()))
        width = max(1, -(-int(every.max() - every.min() + 1) // MAX_BINS))  # whole steps, so that no bar is empty
        bins = np.arange(every.min(), every.max() + width + 1, width) - 0.5
        rows = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (split, lengths) in zip(rows, shown.items(), strict=True):
            median = float(np.median(lengths))
            axes.hist(lengths, bins, color=LIGHT["series-1"], edgecolor=LIGHT["card"], linewidth=0.6)
            axes.axvline(median, color=LIGHT["series-2"], linewidth=1.6, dashes=(4, 1.6), label=f"median {median:g}")
            axes.set_title(f"{split}: {len(lengths):,} clips, N {lengths.min():,} to {lengths.max():,}", loc="left")
            axes.grid(axis="y", linewidth=0.7)
            axes.set_ylabel("clips")
            axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True, min_n_ticks=1))
            axes.legend(frameon=False, fontsize=9)
            axes.spines[["top", "left", "right"]].set_visible(False)
        rows[-1].xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
        rows[-1].set_xlabel("N, steps of a clip (view 0)")


def draw_similarity(clip: ShownClip, path: Path) -> None:
    """Draws the cosines between all steps of view 0, [N, N]; signs appear as dark squares along the diagonal."""
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.ticker import MaxNLocator

    with _figure(path, (SQUARE_INCHES + 0.8, SQUARE_INCHES)) as figure:
        axes = figure.subplots()
        lowest = min(float(clip.similarity.min()), 1 - 1e-3)
        ink = "#{:02x}{:02x}{:02x}".format(*INK)
        shades = LinearSegmentedColormap.from_list("ink", [LIGHT["card"], ink, DEEPEST])
        image = axes.imshow(clip.similarity, cmap=shades, vmin=lowest, vmax=1, interpolation="nearest")
        figure.colorbar(image, ax=axes, label="cosine", shrink=0.85).outline.set_visible(False)
        axes.set_title(
            "\n".join([_wrapped(f"{clip.clip_id} ({clip.split})"), _wrapped(clip.text)]), loc="left", parse_math=False
        )
        step = {IMPORTED: "step", "window": "step (window of kept frames)"}.get(clip.level, "step (kept frame)")
        axes.set_xlabel(step)
        axes.set_ylabel(step)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))


@contextmanager
def _figure(path: Path, inches: tuple[float, float]) -> Iterator["Figure"]:
    """Yields a figure to draw on, and writes it to `path` unless the block fails. Uses no window and no global
    state."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.font_manager import fontManager

    require_image(path)
    installed = {font.name for font in fontManager.ttflist}
    with rc_context({**STYLE, "font.family": [font for font in FONTS if font in installed]}):
        figure = Figure(figsize=inches, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        with warnings.catch_warnings(record=True) as warned, replacing(path) as temporary:
            warnings.simplefilter("always")
            figure.savefig(temporary, format=path.suffix.lower().removeprefix("."), dpi=DOTS_PER_INCH)
    if any("missing from font" in str(warning.message) for warning in warned):
        log(f"{path}: no installed font has all characters of the title; install Noto Sans CJK, for example.")


def _wrapped(text: str) -> str:
    return "\n".join(textwrap.wrap(text, TITLE_CHARACTERS))
