"""Uni-Sign: a pickle for each clip, `ID.pkl`, a dict of keypoints and scores, lists with [1, K, 2] and [1, K] for each
of T frames; and `labels.SPLIT`, a gzipped pickle of {name, text, gloss, length}. Features are x, y and score of each
point, [T, 3K]. Nothing is unpickled by Python."""

import gzip
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slt_cache.cache_tools.arrays import BadFile, flat
from slt_cache.cache_tools.layouts.base import Asked, Listing, each_clip, file_name
from slt_cache.cache_tools.layouts.files import list_files
from slt_cache.cache_tools.layouts.labels import is_pickled
from slt_cache.cache_tools.layouts.pickled_arrays import PickledArray, load_arrays
from slt_cache.errors import InputError
from slt_cache.features.cache import FeatureCache

POINT = 3
"""Values of a point: x, y and score."""


class UniSign:
    def recognizes(self, folder: Path) -> bool:
        return any(not is_pickled(path) for path in folder.rglob("*.pkl"))

    def list_clips(self, folder: Path, asked: Asked) -> Listing:
        return list_files(folder, asked, (".pkl",), read_pose)

    def write(self, caches: Sequence[FeatureCache], out: Path) -> None:
        for split, clip_id, _, features in each_clip(caches):
            if features.shape[1] % POINT:
                raise InputError(
                    f"--layout uni-sign: {features.shape[1]} channels are no points with x, y and score. Use another."
                )
            points = features.reshape(len(features), 1, -1, POINT)
            pose = {"keypoints": [*points[..., :2].copy()], "scores": [*points[..., 2].copy()]}
            path = out / "poses" / split / f"{file_name(clip_id)}.pkl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(pickle.dumps(pose, protocol=4))
        for cache in caches:
            items = {
                clip_id: {"name": clip_id, "text": text, "gloss": "", "length": len(cache[clip_id])}
                for clip_id, text in zip(cache.ids, cache.texts, strict=True)
            }
            (out / f"labels.{cache.split}").write_bytes(gzip.compress(pickle.dumps(items, protocol=4)))


def read_pose(path: Path) -> np.ndarray:
    """Reads the points of one clip as [T, 3K]. Raises BadFile."""
    if not path.is_file():
        raise BadFile("no such file")
    try:
        pose = load_arrays(path)
    except InputError as error:
        raise BadFile(str(error).removeprefix(f"{path}: ")) from error
    if not isinstance(pose, dict) or "keypoints" not in pose or "scores" not in pose:
        raise BadFile("no dict of keypoints and scores")
    points, scores = _stacked(pose["keypoints"], "keypoints"), _stacked(pose["scores"], "scores")
    if points.ndim < 2 or scores.shape != points.shape[:-1]:
        raise BadFile(f"scores of shape {list(scores.shape)} for keypoints of shape {list(points.shape)}")
    return flat(np.concatenate([points, scores[..., None]], axis=-1))


def _stacked(frames: Any, what: str) -> np.ndarray:
    """Returns an array, or the arrays of all frames stacked."""
    if isinstance(frames, PickledArray):
        return frames.array()
    if frames == []:
        raise BadFile(f"shape [0] of {what} instead of [T, K]")
    if not isinstance(frames, list) or not all(isinstance(one, PickledArray) for one in frames):
        raise BadFile(f"{what} that are no list of arrays")
    arrays = [frame.array() for frame in frames]
    if len({array.shape for array in arrays}) > 1:
        raise BadFile(f"{what} whose shape differs from frame to frame")
    return np.stack(arrays)


LAYOUT = UniSign()
