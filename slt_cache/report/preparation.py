"""Builds prepare.html, the page to look at before a training: sizes of the splits, irregularities, lengths, frequencies
of words, and ten random clips with their frames and sentences."""

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from slt_cache.corpora.base import Clip
from slt_cache.corpora.characters import is_there
from slt_cache.corpora.registry import language_code
from slt_cache.corpora.statistics import LEAKS, Statistics
from slt_cache.files import write_text
from slt_cache.pipeline.prepare import Preparation
from slt_cache.progress import progress_steps
from slt_cache.report.clip_rows import draw_picture
from slt_cache.report.lengths import described, draw_histogram
from slt_cache.report.lines import Chart, Series, draw_lines
from slt_cache.report.strips import draw_filmstrip, seen_frames
from slt_cache.report.template import render
from slt_cache.runs.run import Run
from slt_cache.video.chunks import ChunkReader, ClipEnd, Event, plain
from slt_cache.video.reader_pool import read_ahead
from slt_cache.video.stream import UnreadableVideo

SHOWN = 10
"""Number of random clips."""
MOST_SECONDS = 60.0
"""Seconds of a clip that are read for its pictures."""
MOST_BYTES = 60_000
"""Bytes of the pictures of one clip."""
EXAMPLES = 3
"""Examples of each kind of problem."""
USUAL = 99.5
"""Percentile of the lengths up to which a curve is drawn; longer ones count at its end."""
TENTHS = 10
RANKS = 60
"""Largest number of points of a curve of frequencies."""


@dataclass(frozen=True)
class ShownClip:
    """One of the random clips."""

    clip: Clip
    picture: Markup
    """Its frames; empty if its video cannot be read."""
    missing: str
    """Why there are no frames."""
    seconds: float | None
    """Its length; None if unknown."""


def write_preparation(run: Run, made: Preparation) -> Path:
    """Writes prepare.html of the run folder, which loads nothing from elsewhere."""
    statistics = made.statistics
    page: dict[str, Any] = {
        "name": run.folder.resolve().name,
        "corpus": run.config.corpus.name,
        "table": statistics.table,
        "unit": statistics.unit,
        "leaks": {kind: made.findings.get(kind, [])[:EXAMPLES] for kind in LEAKS if statistics.leaks[kind]},
        "irregularities": {kind: found[:EXAMPLES] for kind, found in made.findings.items() if kind not in LEAKS},
        "many": {kind: len(found) for kind, found in made.findings.items()},
        "report": made.report.name,
        "seconds": [
            described(split, np.round(np.array(one, float), 1)) for split, one in statistics.seconds.items() if one
        ],
        "lengths": [described(split, np.array(one)) for split, one in statistics.lengths.items() if one],
        "drawings": _drawings(statistics),
        "frequencies": _draw_frequencies(statistics),
        "once": sum(many == 1 for many in statistics.counts["train"].values()),
        "different": len(statistics.counts["train"]),
        "clips": _shown(run, made),
        "seed": run.config.seed,
        "most_seconds": round(MOST_SECONDS),
        "language_code": (language_code(run.config) or "")[:2],
    }
    path = run.folder / "prepare.html"
    write_text(path, render("preparation.html.jinja", page))
    return path


def _drawings(statistics: Statistics) -> list[Markup]:
    """Draws the lengths of clips and of sentences."""
    seconds = {split: np.array(one) for split, one in statistics.seconds.items() if one}
    words = {split: np.array(one) for split, one in statistics.lengths.items() if one}
    tenths = {split: np.rint(one * TENTHS).astype(int) for split, one in _usual(seconds).items()}
    of_unit = f"{statistics.unit} of a sentence"
    drawn = [
        draw_histogram("seconds", "Seconds of a clip by split", "seconds of a clip", "clips", tenths, scale=TENTHS),
        draw_histogram("words", f"{of_unit} by split", of_unit, "sentences", _usual(words)),
    ]
    return [one for one in drawn if one]


def _usual(lengths: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the lengths by split, with the unusually long ones shortened."""
    if not lengths:
        return {}
    most = np.percentile(np.concatenate(list(lengths.values())), USUAL, method="higher")
    return {split: np.minimum(one, most) for split, one in lengths.items()}


def _draw_frequencies(statistics: Statistics) -> Markup:
    """Draws how often each word occurs, from the most frequent one on."""
    series = tuple(Series(split, _by_rank(counts), inked=True) for split, counts in statistics.counts.items() if counts)
    what = statistics.unit
    chart = Chart(
        key="frequencies",
        title=f"Frequencies of {what} by split",
        x_label=f"{what}, the most frequent first",
        y_label="occurrences",
        series=series,
        logarithmic=True,
        logarithmic_x=True,
    )
    return draw_lines(chart)


def _by_rank(counts: Counter[str]) -> tuple[tuple[float, float], ...]:
    occurrences = np.sort(np.fromiter(counts.values(), int, len(counts)))[::-1]
    ranks = np.unique(np.geomspace(1, len(occurrences), RANKS).astype(int))
    return tuple((float(rank), float(occurrences[rank - 1])) for rank in ranks)


def _shown(run: Run, made: Preparation) -> list[ShownClip]:
    """Returns random clips, in manifest order; the run's seed chooses them."""
    many = len(made.clips)
    chosen = [
        made.clips[place] for place in sorted(random.Random(run.config.seed).sample(range(many), min(SHOWN, many)))
    ]
    events = read_ahead(
        plain(map(_beginning, chosen)), ChunkReader(run.config.video), min(1, run.config.compute.readers)
    )
    with progress_steps("frames of ten clips", len(chosen), "clip") as step:
        shown = []
        for clip in chosen:
            shown.append(_drawn(clip, _of_one(events), made.seconds_of(clip)))
            step()
        list(events)  # ends the reader
    return shown


def _beginning(clip: Clip) -> Clip:
    """Returns the clip without what comes after the most that is shown. A folder of frames has no times."""
    start = clip.start or 0.0
    if (is_there(clip.video) and clip.video.is_dir()) or (clip.end is not None and clip.end - start <= MOST_SECONDS):
        return clip
    return replace(clip, end=start + MOST_SECONDS)


def _of_one(events: Iterator[Event]) -> Iterator[Event]:
    """Yields the events of the next clip."""
    for event in events:
        yield event
        if isinstance(event, ClipEnd | UnreadableVideo):
            return


def _drawn(clip: Clip, events: Iterator[Event], seconds: float | None) -> ShownClip:
    try:
        strip = draw_filmstrip(seen_frames(events), MOST_BYTES)
    except UnreadableVideo as error:
        return ShownClip(clip, Markup(), error.reason, seconds)
    return ShownClip(clip, draw_picture(clip.id, strip, None), "", seconds)
