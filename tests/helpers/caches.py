"""Small feature caches: four clips with difficult ids and sentences, in one or several views."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from slt_cache.features.cache import FeatureCache
from slt_cache.features.layout import Failure, SplitContent, SplitMetadata, SplitTable, checksum
from slt_cache.features.parts import ClipFeatures, Parts, add_splits
from slt_cache.features.spec import FeatureSpec

DIM = 6
LENGTHS = (3, 1, 5, 2)
"""N of each clip's view 0; view k has k more."""
IDS = ("clip ä", "-clip 'b'", "片段", "clip/d")
TEXTS = ("größer süden", 'he said "no"', "今天下雪，有大风。", "ein satz")
AUGMENTATION = {"phase": True, "crop": True, "shift": 0.0, "flip": 0.0, "brightness": 0.0}


def spec_of(dtype: str = "float16", **changes: Any) -> FeatureSpec:
    spec = FeatureSpec(
        encoder_sha256="a" * 64,
        level="sign",
        dim=DIM,
        dtype=dtype,
        precision="fp32",
        keep_rate=0.25,
        resize=256,
        crop=224,
        fit="stretch",
        blank=False,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        decoder="decord",
    )
    return replace(spec, **changes)


def spec_with_views(views: int) -> FeatureSpec:
    return spec_of(views=views, view_seed=7, augmentation=AUGMENTATION)


def facts_of(split: str = "train", spec: FeatureSpec | None = None, manifest: str = "m" * 64) -> SplitMetadata:
    return SplitMetadata(
        split, spec or spec_of(), "tsv", "de_DE", manifest, "2024-05-01T00:00:00+00:00", "slt-cache test"
    )


def rows_of(dtype: str = "float16", seed: int = 0, views: int = 1) -> list[ClipFeatures]:
    random = np.random.default_rng(seed)
    return [
        ClipFeatures(clip_id, text, 4 * length - 1, 25.0, random.normal(size=(length + view, DIM)).astype(dtype))
        for clip_id, text, length in zip(IDS, TEXTS, LENGTHS, strict=True)
        for view in range(views)
    ]


def add_split(
    path: Path, rows: list[ClipFeatures], metadata: SplitMetadata | None = None, missing: tuple[Failure, ...] = ()
) -> FeatureCache:
    """Adds a split as two parts, with the missing clips in the second."""
    metadata = metadata or facts_of()
    cut = 3 * metadata.spec.views
    parts = Parts(path, metadata)
    parts.write(0, rows[:cut], [])
    parts.write(1, rows[cut:], missing)
    add_splits(path, [parts.content(2)])
    parts.remove()
    return FeatureCache(path, metadata.split)


def many_clips(count: int, features: np.ndarray) -> SplitContent:
    """Clips of one step each; a thousand different ones, again and again."""
    kinds, _, dim = features.shape
    table = SplitTable(
        metadata=facts_of(spec=spec_of(dim=dim)),
        clip_ids=[f"clip-{n:08d}" for n in range(count)],
        texts=[f"satz {n % kinds}" for n in range(count)],
        num_frames=np.full(count, 4, np.int32),
        fps=np.full(count, 25, np.float32),
        steps=np.ones(count, np.int64),
        checksums=np.tile([checksum(one) for one in features], count // kinds).astype(np.uint32),
        missing=(),
    )
    return SplitContent(table, lambda: (features[n % kinds] for n in range(count)), "memory")
