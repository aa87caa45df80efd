"""What a feature cache holds: facts of each split, and one clip as stage 2 would read it. Changes nothing, and needs no
torch."""

import difflib
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slt_cache.errors import InputError
from slt_cache.features.cache import FeatureCache, open_splits
from slt_cache.features.verify import cache_problems
from slt_cache.progress import progress_bar

SECONDS_AN_HOUR = 3600


@dataclass(frozen=True)
class ShownView:
    """One view of a clip, [N, C], in figures."""

    view: int
    num_frames: int
    """T, source frames; 0 where nothing tells it."""
    fps: float
    """Source frames a second; 0 where nothing tells it."""
    steps: int
    """N"""
    mean: float
    std: float
    min: float
    max: float
    norm: float
    """Euclidean norm of a step, mean over the steps."""
    neighbours: float | None
    """Cosine between one step and the next, mean over the clip; None where there is one step only."""


@dataclass(frozen=True)
class ShownClip:
    """A clip as the cache gives it."""

    clip_id: str
    split: str
    text: str
    level: str
    """frame, sign or hidden: a step is a kept frame; or imported: it is what its maker says."""
    dim: int
    """C"""
    dtype: str
    views: tuple[ShownView, ...]
    similarity: np.ndarray
    """float32 [N, N], cosine of each two steps of view 0."""


def verify_cache(path: Path) -> list[str]:
    """One line for every damaged place; see features/verify.py."""
    with progress_bar(f"checking {path.name}", "row") as progress:
        return cache_problems(path, progress)


def describe_cache(path: Path) -> dict[str, dict[str, Any]]:
    """Facts of each split, ready for JSON. Raises InputError where the path is no feature cache."""
    return {split: _describe(held) for split, held in open_splits(path).items()}


def _describe(held: FeatureCache) -> dict[str, Any]:
    num_frames, fps = held.num_frames, held.column("fps")[:: held.views]
    known = (fps > 0) & (num_frames > 0)
    seconds = float((num_frames[known] / fps[known].astype(np.float64)).sum())
    return {
        "clips": len(held),
        "views": held.views,
        "rows": len(held.features),
        "dim": held.dim,
        "dtype": str(held.features.dtype),
        "bytes": int(held.features.nbytes),
        "hours": seconds / SECONDS_AN_HOUR if known.any() else None,
        "clips_without_hours": int((~known).sum()),
        "lengths": _lengths(np.diff(held.offsets)),
        "complete": held.complete,
        "missing": [asdict(failure) for failure in held.missing],
        "corpus": held.metadata.corpus,
        "language": held.metadata.language,
        "created": held.metadata.created,
        "tool": held.metadata.tool,
        "spec": asdict(held.spec),
    }


def _lengths(steps: np.ndarray) -> dict[str, float] | None:
    """Of N, over all rows; None where there are none."""
    if not len(steps):
        return None
    return {"min": int(steps.min()), "median": float(np.median(steps)), "max": int(steps.max())}


def steps_of_clips(path: Path) -> dict[str, np.ndarray]:
    """N of each clip's view 0, by split."""
    return {split: np.diff(held.offsets)[:: held.views] for split, held in open_splits(path).items()}


def show_clip(path: Path, clip_id: str, split: str | None = None) -> ShownClip:
    """One clip with all of its views. Raises InputError where no split has it, naming ids like it, where several have
    it, and where its features are damaged."""
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
            _figures(view, int(num_frames[first + view]), float(fps[first + view]), steps)
            for view, steps in enumerate(features)
        ),
        similarity=_similarity(features[0]),
    )


def _no_such_clip(path: Path, caches: list[FeatureCache], clip_id: str) -> str:
    for cache in caches:
        for failure in cache.missing:
            if failure.clip_id == clip_id:
                return f"{path}: clip {clip_id!r} of {cache.split} is missing: {failure.reason}. Extract it again."
    ids = list(Counter(held for cache in caches for held in cache.ids))
    similar = difflib.get_close_matches(clip_id, ids, n=3, cutoff=0.5) or ids[:3]
    named = ", ".join(map(repr, similar)) or "no clip at all"
    return f"{path}: holds no clip {clip_id!r} in {', '.join(cache.split for cache in caches)}, but {named}. Name one."


def _figures(view: int, num_frames: int, fps: float, features: np.ndarray) -> ShownView:
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
    """Steps of length 1; a step of nothing but zeros stays as it is."""
    norms = np.linalg.norm(steps, axis=1, keepdims=True)
    return steps / np.where(norms > 0, norms, 1)


def _similarity(features: np.ndarray) -> np.ndarray:
    units = _units(features)
    return units @ units.T  # [N, N]
