"""Summarizes the grounding of a split: scores under each alteration, how often a swapped clip gets the other clip's
sentence, and how well reliability predicts the quality of sentences."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from slt_cache.grounding.alterations import ALTERATIONS, SWAP
from slt_cache.grounding.measure import GroundedClip
from slt_cache.metrics.base import Rules
from slt_cache.metrics.content_words import RULE
from slt_cache.metrics.grounding import DECIDED, LITTLE
from slt_cache.metrics.prediction import prediction, sentence_chrf
from slt_cache.metrics.scores import score

PRIOR = "blank"
"""The language-model prior: the model's probabilities given nothing but blank steps (metrics/README.md says why)."""
FEWEST = 2
"""Fewest clips that can be resampled."""


def summarize(clips: Sequence[GroundedClip], rules: Rules, metrics: Iterable[str]) -> dict[str, Any]:
    """Returns all figures of the grounding of a split, for `--json` and the report."""
    references = [clip.reference for clip in clips]
    scores = {
        name: {
            key: round(found.value, 2)
            for key, found in score(
                [clip.altered[name] for clip in clips], references, rules.preset.name, rules.choices, metrics=metrics
            ).items()
        }
        for name in ALTERATIONS
        if name in clips[0].altered
    }
    reliability = np.array([clip.evidence.reliability for clip in clips])
    return {
        "prior": PRIOR,
        "threshold": DECIDED,
        "content": RULE,
        "reliability": {
            "mean": round(float(reliability.mean()), 4),
            **{f"p{part}": round(float(np.percentile(reliability, part)), 4) for part in (5, 50, 95)},
        },
        "little": int((reliability < LITTLE).sum()),
        "little_below": LITTLE,
        **{
            name: round(float(np.mean([getattr(clip.evidence, name) for clip in clips])), 4)
            for name in ("explained", "mean_drop", "log_probability")
        },
        "scores": scores,
        "alterations": {name: ALTERATIONS[name] for name in scores},
        SWAP: swapped(clips),
        "prediction": predict(clips, rules) if len(clips) >= FEWEST else None,
    }


def swapped(clips: Sequence[GroundedClip]) -> dict[str, Any]:
    """Returns how many of the clips that got the features of a clip with another hypothesis also got its
    hypothesis."""
    of = {clip.clip_id: clip.hypothesis for clip in clips}
    pairs = [
        (clip.altered[SWAP], of[clip.swapped_with])
        for clip in clips
        if clip.swapped_with is not None and of[clip.swapped_with] != clip.hypothesis
    ]
    same = sum(found == other for found, other in pairs)
    return {"clips": len(pairs), "other_sentence": same, "share": round(same / len(pairs), 4) if pairs else None}


def predict(clips: Sequence[GroundedClip], rules: Rules) -> dict[str, Any]:
    """Returns how well reliability predicts sentence chrF, against the other figures of the video, the model's own
    mean log-probability and the length of the sentence: a longer one is more likely wrong."""
    evidence = [clip.evidence for clip in clips]
    predictors = {
        "reliability": [one.reliability for one in evidence],
        "explained": [one.explained for one in evidence],
        "mean_drop": [one.mean_drop for one in evidence],
        "log_probability": [one.log_probability for one in evidence],
        "shortness": [-float(one.tokens) for one in evidence],
    }
    qualities = sentence_chrf([clip.hypothesis for clip in clips], [clip.reference for clip in clips], rules)
    return prediction(predictors, qualities, predictors["reliability"])
