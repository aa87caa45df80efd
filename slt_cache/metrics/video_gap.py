"""The video gap in numbers and words: by how much the dev loss rises if a model does not get a clip's own video. A
model that has only learned the language of the sentences loses nothing. training/video_gap.py measures it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from slt_cache.metrics.bootstrap import mean_interval

GAP, SWAPPED, LOW, HIGH = "video_gap", "video_gap_swapped", "video_gap_swapped_low", "video_gap_swapped_high"
"""Keys of the gap in metrics.jsonl and in records, in nats per target token: with a blank video, with the video of
another clip, and the 95 % interval of the latter, by bootstrap over the sentences."""
NEAR = 0.02
"""Smallest swapped gap, in nats per target token, of a model that sees the video; its interval must exclude 0, too. The
gap to a blank video does not decide: black frames may confuse a model that cannot tell two videos apart."""
FEWEST_CLIPS = 10
"""Smallest number of dev clips that gives an interval."""
RESAMPLES = 1000
LOSS = "a loss that looks at the video (visual_training.objective=contrastive)"
SHORT_FIRST = "short clips first (visual_training.curriculum=short-first)"
SEEN_MORE = "an encoder that has seen more (encoder.init_from, encoder.weights)"
BLACK = "Its videos are black frames (video.blank), so there is nothing to see"
TRY_FOR_LLM = "Try more epochs (llm_training.epochs), or train stage 1 first: slt-cache train-visual"


@dataclass(frozen=True)
class SentenceLosses:
    """Cross-entropy of the sentence of one clip, without label smoothing, summed over its target tokens."""

    clip_id: str
    tokens: int
    own: float
    """With the clip's own video."""
    blank: float
    swapped: float


def gap_of(losses: Sequence[SentenceLosses]) -> dict[str, float]:
    """Returns GAP and SWAPPED, and with enough clips LOW and HIGH."""
    tokens = sum(loss.tokens for loss in losses) / len(losses)
    blank = np.array([loss.blank - loss.own for loss in losses]) / tokens
    swapped = np.array([loss.swapped - loss.own for loss in losses]) / tokens
    gap = {GAP: float(blank.mean()), SWAPPED: float(swapped.mean())}
    if len(losses) >= FEWEST_CLIPS:
        middle, half = mean_interval(swapped, RESAMPLES)
        gap |= {LOW: middle - half, HIGH: middle + half}
    return {key: round(value, 4) for key, value in gap.items()}


def gap_text(gap: Mapping[str, float]) -> str:
    """Returns the gap as it follows other values in a line; empty without one."""
    return f", video gap {gap[GAP]:.3f} (swapped {gap[SWAPPED]:.3f})" if GAP in gap else ""


def sees_video(gap: Mapping[str, float]) -> bool | None:
    """Returns whether a model with this gap sees the video; None if it was not measured, or on too few clips."""
    return gap[LOW] > 0 and gap[SWAPPED] >= NEAR if LOW in gap else None


def too_few_clips(gap: Mapping[str, float]) -> str:
    """Says why it is not known whether weights with this gap see the video; empty if it is, or if dev is missing."""
    if GAP not in gap or LOW in gap:
        return ""
    return f"dev has fewer than {FEWEST_CLIPS} clips, too few to judge whether its weights see the video"


def blindness(gap: Mapping[str, float], settings: Mapping[str, Any], of_llm: bool = False) -> str:
    """Says that weights with this gap do not see the video, and what to try that their recorded settings do not have;
    empty if they do, or if it is not known. `of_llm` are those of an encoder that was trained with the LLM instead of
    Light-T."""
    if sees_video(gap) is not False:
        return ""
    return (
        f"its weights hardly see the video: with that of another clip the dev loss is {gap[SWAPPED]:.3f} nats per "
        f"token higher (95 % interval {gap[LOW]:.3f} to {gap[HIGH]:.3f}), with a blank one {gap[GAP]:.3f}. "
        f"They know the language of the sentences rather than the signs. {_advice(settings, of_llm)}"
    )


def _advice(settings: Mapping[str, Any], of_llm: bool) -> str:
    if settings.get("video", {}).get("blank"):
        return BLACK
    if of_llm:
        return TRY_FOR_LLM
    loop = settings.get("visual_training", {})
    more = [
        *([] if {"contrastive", "cico"} & {*loop.get("objective", ())} else [LOSS]),
        *([] if loop.get("curriculum", "none") == "short-first" else [SHORT_FIRST]),
    ]
    return ", ".join(["Try more epochs (visual_training.epochs)", *more, f"or {SEEN_MORE}"])
