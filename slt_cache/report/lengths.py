"""Describes the lengths of clips and sentences: steps N by split from the cache, words of references and hypotheses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from slt_cache.cache_tools.inspect import steps_of_clips
from slt_cache.corpora.base import SPLITS, Clip, of_split
from slt_cache.errors import SltCacheError
from slt_cache.features.file import CacheFile
from slt_cache.report.lines import Chart, Series, draw_lines
from slt_cache.report.sentence_diff import has_words, tokenize
from slt_cache.report.template import colour_of
from slt_cache.runs.evaluations import Evaluation

MOST_BINS = 40


@dataclass(frozen=True)
class Lengths:
    """Statistics of the lengths of one set of clips or sentences."""

    name: str
    number: int
    least: float
    median: float
    mean: float
    most: float


@dataclass(frozen=True)
class LengthTables:
    """Tables of clips and of sentences, each with its chart."""

    steps: list[Lengths]
    steps_drawing: Markup
    without_steps: str
    """Reason why there are no steps; empty if there are."""
    words: list[Lengths]
    words_drawing: Markup
    unit: str
    """Unit of sentence lengths: words or characters."""


def read_lengths(cache: CacheFile | str, clips: Sequence[Clip], evaluation: Evaluation | None) -> LengthTables:
    """Computes the lengths; those of hypotheses are from `evaluation`."""
    steps, missing = _steps(cache)
    sentences = {f"references of {split}": [clip.text for clip in of_split(clips, split)] for split in SPLITS}
    if evaluation is not None:
        table = evaluation.sentences()
        sentences[f"references of {evaluation.split}"] = [one.reference for one in table]
        sentences[f"hypotheses of {evaluation.split}, {evaluation.short_name}"] = [one.hypothesis for one in table]
    sentences = {name: texts for name, texts in sentences.items() if texts}
    some = [text for texts in sentences.values() for text in texts]
    by_words = sum(map(has_words, some)) * 2 >= len(some)
    sample = "a a" if by_words else "字"
    words = {name: np.array([len(tokenize(text, sample)) for text in texts]) for name, texts in sentences.items()}
    unit = "words" if by_words else "characters"
    model = None if evaluation is None else colour_of(evaluation.model)
    compared = {name: counts for name, counts in words.items() if evaluation and f"of {evaluation.split}" in name}
    return LengthTables(
        steps=[described(name, counts) for name, counts in steps.items()],
        steps_drawing=draw_histogram("steps", "Steps of a clip by split", "N, steps of a clip", "clips", steps),
        without_steps=missing,
        words=[described(name, counts) for name, counts in words.items()],
        words_drawing=draw_histogram(
            "words", f"{unit} of a sentence", f"{unit} of a sentence", "sentences", compared, model
        ),
        unit=unit,
    )


def _steps(cache: CacheFile | str) -> tuple[dict[str, np.ndarray], str]:
    """Returns N by split, or why there are none."""
    if isinstance(cache, str):
        return {}, cache
    try:
        found = steps_of_clips(cache)
    except SltCacheError as error:
        return {}, str(error)
    return {split: steps for split, steps in found.items() if len(steps)}, ""


def described(name: str, lengths: np.ndarray) -> Lengths:
    """Returns the statistics of some lengths."""
    least, most = lengths.min().item(), lengths.max().item()
    return Lengths(name, len(lengths), least, float(np.median(lengths)), float(lengths.mean()), most)


def draw_histogram(
    key: str,
    title: str,
    x_label: str,
    what: str,
    sets: Mapping[str, np.ndarray],
    model: int | None = None,
    scale: int = 1,
) -> Markup:
    """Draws shares in percent, so that sets of different size are comparable. Lengths are whole numbers of which
    `scale` are one unit of the x axis; `model` is the colour of hypotheses."""
    if not sets:
        return Markup()
    every = np.concatenate(list(sets.values()))
    width = max(
        1, -(-int(every.max() - every.min() + 1) // MOST_BINS)
    )  # whole steps, so that no bin is empty by construction
    edges = np.arange(every.min() - width, every.max() + 2 * width + 1, width)  # an empty bin at either end
    series = []
    for name, lengths in sets.items():
        counts, _ = np.histogram(lengths, edges - 0.5)
        middles = edges[:-1] + (width - 1) / 2
        shares = 100 * counts / len(lengths)
        points = tuple(zip((middles / scale).tolist(), shares.tolist(), strict=True))
        series.append(Series(name, points, model if "hypotheses" in name else None, inked="hypotheses" not in name))
    return draw_lines(Chart(f"lengths-{key}", title, x_label, f"% of {what}", tuple(series), outline=True))
