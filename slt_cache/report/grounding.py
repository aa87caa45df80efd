"""The grounding of an evaluation, as `eval --grounding` wrote it: a section of the report, and the words of each
sentence shaded by the evidence of the video."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from slt_cache.errors import InputError
from slt_cache.grounding.files import grounding_file, read_grounding
from slt_cache.grounding.measure import GroundedClip
from slt_cache.grounding.summary import summarize
from slt_cache.metrics.base import Rules
from slt_cache.metrics.grounding import SentenceEvidence
from slt_cache.metrics.presets import PRESETS
from slt_cache.metrics.registry import of_text
from slt_cache.report.lines import Chart, Series, draw_lines
from slt_cache.runs.evaluations import Evaluation
from slt_cache.runs.run import Run


@dataclass(frozen=True)
class ShownGrounding:
    """Content of the section, and the evidence of each clip."""

    figures: dict[str, Any]
    scores: Mapping[str, Mapping[str, float]]
    """Scores with the video and under each alteration."""
    calibration: Markup
    of_clip: dict[str, SentenceEvidence] = field(default_factory=dict)


def read_shown_grounding(run: Run, evaluation: Evaluation) -> ShownGrounding | str:
    """Reads the grounding of the sentences of an evaluation; returns why there is none to show, in words."""
    model = None if evaluation.model == "llm" else evaluation.model
    again = run.command("eval --grounding", split=evaluation.split, model=model)
    path = grounding_file(evaluation.table)
    if not path.is_file():
        return f"Not measured: {again} does."
    try:
        clips = read_grounding(path)
    except InputError as error:
        return str(error)
    sentences = {one.clip_id: one.hypothesis for one in evaluation.sentences()}
    if {clip.clip_id: " ".join(clip.hypothesis.split()) for clip in clips} != {
        clip_id: " ".join(text.split()) for clip_id, text in sentences.items()
    }:
        return f"{path.name} is of other sentences than those scored. Measure it again: {again}"
    return _shown(evaluation, clips)


def _shown(evaluation: Evaluation, clips: Sequence[GroundedClip]) -> ShownGrounding:
    rules = Rules(PRESETS[evaluation.preset], evaluation.choices)
    figures = summarize(clips, rules, of_text(evaluation.scores))
    scores = {"video": evaluation.scores, **figures["scores"]}
    return ShownGrounding(figures, scores, _calibration(figures), {clip.clip_id: clip.evidence for clip in clips})


def _calibration(figures: dict[str, Any]) -> Markup:
    found = figures["prediction"]
    if found is None:
        return Markup("")
    points = tuple((100 * one["mean"], 100 * one["right"]) for one in found["calibration"])
    title = "share of right sentences by reliability"
    return draw_lines(
        Chart("calibration", title, "reliability, %", "right sentences, %", (Series("", points),), 100.0, points=True)
    )
