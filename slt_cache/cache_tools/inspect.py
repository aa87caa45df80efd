"""Describes a feature cache: metadata of each split, and one clip as stage 2 would read it. Changes nothing, and needs
no torch."""

import difflib
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slt_cache.errors import InputError
from slt_cache.features.cache import FeatureCache, open_splits
from slt_cache.features.file import CacheFile
from slt_cache.features.verify import open_verified
from slt_cache.progress import progress_bar

SECONDS_AN_HOUR = 3600


@dataclass(frozen=True)
class ShownView:
    """Statistics of one view of a clip, [N, C]."""

    view: int
    num_frames: int
    """T, source frames; 0 if unknown."""
    fps: float
    """Source frames per second; 0 if unknown."""
    steps: int
    """N, time steps."""
    mean: float
    std: float
    min: float
    max: float
    norm: float
    """Mean Euclidean norm of a step."""
    neighbours: float | None
    """Mean cosine between consecutive steps; None if there is only one step."""


@dataclass(frozen=True)
class ShownClip:
    """Features of one clip in statistics."""

    clip_id: str
    split: str
    text: str
    level: str
    """frame, sign or hidden, where a step is a kept frame; or imported, where their source defines a step."""
    dim: int
    """C, feature channels."""
    dtype: str
    views: tuple[ShownView, ...]
    similarity: np.ndarray
    """Cosines between all steps of view 0, float32 [N, N]."""


def verify_cache(path: Path) -> tuple[CacheFile | None, list[str]]:
    """Opens a cache and returns it with one line for every damage; see features/verify.py."""
    with progress_bar(f"checking {path.name}", "row") as progress:
        return open_verified(path, progress)


def describe_cache(file: Path | CacheFile) -> dict[str, dict[str, Any]]:
    """Returns metadata and statistics of each split, ready for JSON. Raises InputError if the path is no feature
    cache."""
    return {split: _describe(cache) for split, cache in open_splits(file).items()}


def _describe(cache: FeatureCache) -> dict[str, Any]:
    num_frames, fps = cache.num_frames, cache.column("fps")[:: cache.views]
    known = (fps > 0) & (num_frames > 0)
    seconds = float((num_frames[known] / fps[known].astype(np.float64)).sum())
    return {
        "clips": len(cache),
        "views": cache.views,
        "rows": len(cache.features),
        "dim": cache.dim,
        "dtype": str(cache.features.dtype),
        "bytes": int(cache.features.nbytes),
        "hours": seconds / SECONDS_AN_HOUR if known.any() else None,
        "clips_without_hours": int((~known).sum()),
        "lengths": _lengths(np.diff(cache.offsets)),
        "complete": cache.complete,
        "missing": [asdict(failure) for failure in cache.missing],
        "corpus": cache.metadata.corpus,
        "language": cache.metadata.language,
        "created": cache.metadata.created,
        "tool": cache.metadata.tool,
        "spec": asdict(cache.spec),
    }


def _lengths(steps: np.ndarray) -> dict[str, float] | None:
    """Returns the range and median of N over all rows; None if there are none."""
    if not len(steps):
        return None
    return {"min": int(steps.min()), "median": float(np.median(steps)), "max": int(steps.max())}


def steps_of_clips(file: Path | CacheFile) -> dict[str, np.ndarray]:
    """Returns N of each clip's view 0, by split."""
    return {split: cache.steps for split, cache in open_splits(file).items()}


def show_clip(path: Path, clip_id: str, split: str | None = None) -> ShownClip:
    """Describes one clip with all of its views. Raises InputError if no split has it, naming similar ids, if several
    have it, and if its features are damaged."""
    caches = [FeatureCache(path, split)] if split is not None else list(open_splits(path).values())
    having = [cache for cache in caches if clip_id in cache]
    if not having:
        raise InputError(_no_such_clip(path, caches, clip_id))
    if len(having) > 1:
        names = " and ".join(cache.split for cache in having)
        raise InputError(f"{path}: clip {clip_id!r} is in {names}. Say which: --split {having[0].split}")
    [cache] = having
    first = cache.ids.index(clip_id) * cache.views
    features = [cache.row(first + view).astype(np.float32) for view in range(cache.views)]  # [N, C] each
    num_frames, fps = cache.column("num_frames"), cache.column("fps")
    return ShownClip(
        clip_id=clip_id,
        split=cache.split,
        text=cache.row_texts[first],
        level=cache.spec.level,
        dim=cache.dim,
        dtype=cache.spec.dtype,
        views=tuple(
            _statistics(view, int(num_frames[first + view]), float(fps[first + view]), steps)
            for view, steps in enumerate(features)
        ),
        similarity=_similarity(features[0]),
    )


def _no_such_clip(path: Path, caches: list[FeatureCache], clip_id: str) -> str:
    for cache in caches:
        for failure in cache.missing:
            if failure.clip_id == clip_id:
                return f"{path}: clip {clip_id!r} of {cache.split} is missing: {failure.reason}. Extract it again."
    ids = list(Counter(known for cache in caches for known in cache.ids))
    similar = difflib.get_close_matches(clip_id, ids, n=3, cutoff=0.5) or ids[:3]
    named = ", ".join(map(repr, similar)) or "no clip at all"
    return f"{path}: no clip {clip_id!r} in {', '.join(cache.split for cache in caches)}, but {named}. Name one."


def _statistics(view: int, num_frames: int, fps: float, features: np.ndarray) -> ShownView:
    steps = features.astype(np.float64)  # [N, C]
    units = _units(steps)
    neighbours = float((units[1:] * units[:-1]).sum(1).mean()) if len(steps) > 1 else None
    return ShownView(
        view=view,
        num_frames=num_frames,
        fps=fps,
        steps=len(steps),
        mean=float(steps.mean()),
        std=float(steps.std()),
        min=float(steps.min()),
        max=float(steps.max()),
        norm=float(np.linalg.norm(steps, axis=1).mean()),
        neighbours=neighbours,
    )


def _units(steps: np.ndarray) -> np.ndarray:
    """Scales each step to length 1; steps of zeros stay zero."""
    norms = np.linalg.norm(steps, axis=1, keepdims=True)
    return steps / np.where(norms > 0, norms, 1)


def _similarity(features: np.ndarray) -> np.ndarray:
    units = _units(features)
    cosines: np.ndarray = units @ units.T  # [N, N]
    return cosines
