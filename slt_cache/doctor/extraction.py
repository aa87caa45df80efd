"""Check: features are extracted on the device."""

from collections.abc import Iterator

import numpy as np

from slt_cache.doctor.base import SPLITS, TRAINED, Check, Finding, Subject, exact, feature_difference
from slt_cache.features.cache import FeatureCache
from slt_cache.pipeline.extract import extract

ROUNDING = 2e-3
"""Relative difference of features that are kept in float16, whose rounding is 5e-4."""


def _check(subject: Subject) -> Iterator[Finding]:
    expected = subject.trained.features
    caches = [subject.folder / f"{name}.h5" for name in ("extraction", "with-reader")]
    with exact(subject.device):
        for workers, cache in enumerate(caches):
            extract(subject.run(TRAINED, subject.device, f"compute.workers={workers}"), SPLITS, cache)
    for split in SPLITS:
        difference = feature_difference(caches[0], expected, split)
        yield Finding(f"features of {split}, relative difference from the CPU's", difference, at_most=ROUNDING)
    first, second = (FeatureCache(cache, "train").features for cache in caches)
    yield Finding("values that differ if a process reads the videos", int(np.sum(first != second)), at_most=0)


CHECK = Check("extraction", "The frozen encoder writes the feature cache.", _check)
