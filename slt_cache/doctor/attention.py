"""Check: attention is computed on the device as on the CPU."""

from collections.abc import Iterator

import numpy as np

from slt_cache.decoding.attention import word_attentions
from slt_cache.doctor.base import Check, Finding, Subject, exact
from slt_cache.features.cache import FeatureCache
from slt_cache.pipeline.evaluate import load_translator

WEIGHT = 1e-4
"""Largest difference of a weight; those of a word sum to 1."""


def _check(subject: Subject) -> Iterator[Finding]:
    cache = FeatureCache(subject.trained.features, "test")
    translator, tokenizer, *_ = load_translator(subject.trained, "llm")
    clips = [cache[clip] for clip in cache.ids]
    with exact(subject.device):
        here, there = (
            np.concatenate(
                [one.weights.ravel() for one in word_attentions(translator.to(device), tokenizer, clips, cache.texts)]
            )
            for device in ("cpu", subject.device)
        )
    yield Finding("largest difference of a weight from the CPU's", float(np.abs(there - here).max()), at_most=WEIGHT)


CHECK = Check("attention", "Attention of the words of the test sentences to the steps of their videos.", _check)
