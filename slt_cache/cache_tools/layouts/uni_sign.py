"""Uni-Sign: a pickle for each clip, `ID.pkl`, a dict of keypoints and scores, lists with [1, K, 2] and [1, K] for each
of T frames; and `labels.SPLIT`, a gzipped pickle of {name, text, gloss, length}. Features are x, y and score of each
point, [T, 3K], of the first person of each frame, as Uni-Sign reads them; a frame without a person has zeros, as
its points that were not found do. Nothing is unpickled by Python."""

import gzip
import pickle
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from slt_cache.cache_tools.arrays import BadFile, flat
from slt_cache.cache_tools.layouts.base import Asked, Listings, each_clip, file_name, named
from slt_cache.cache_tools.layouts.files import list_files, suffix_of
from slt_cache.cache_tools.layouts.labels import is_pickled
from slt_cache.cache_tools.layouts.pickled_arrays import PickledArray, load_arrays
from slt_cache.errors import InputError
from slt_cache.features.cache import FeatureCache

POINT = 3
"""Values of a point: x, y and score."""
PERSONS = 3
"""Axes of a frame's keypoints [P, K, 2] that has persons; without them they are [K, 2]."""


class UniSign:
    names_streams = True

    def recognizes(self, folder: Path) -> bool:
        return any(not is_pickled(path) for path in folder.rglob("*.pkl"))

    def list_clips(self, folder: Path, asked: Asked) -> Listings:
        poses = _Poses()
        listings = list_files(folder, asked, (".pkl",), poses.read)
        return {stream: replace(listing, remarks=poses.remarks) for stream, listing in listings.items()}

    def write(self, caches: Sequence[FeatureCache], out: Path, stream: str | None) -> None:
        for split, clip_id, _, features in each_clip(caches):
            if features.shape[1] % POINT:
                raise InputError(
                    f"--layout uni-sign: {features.shape[1]} channels are no points with x, y and score. Use another."
                )
            points = features.reshape(len(features), 1, -1, POINT)
            pose = {"keypoints": [*points[..., :2].copy()], "scores": [*points[..., 2].copy()]}
            path = out / "poses" / split / f"{file_name(clip_id)}{suffix_of(stream)}.pkl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(pickle.dumps(pose, protocol=4))
        for cache in caches:
            items = {
                clip_id: {"name": clip_id, "text": text, "gloss": "", "length": len(cache[clip_id])}
                for clip_id, text in zip(cache.ids, cache.texts, strict=True)
            }
            (out / f"labels.{cache.split}").write_bytes(gzip.compress(pickle.dumps(items, protocol=4)))


@dataclass
class _Poses:
    """Reads the files, and counts the persons in them. An import that resumes reads only some of its files."""

    persons: dict[Path, int] = field(default_factory=dict)
    """File -> the most persons in one of its frames."""
    without: dict[Path, int] = field(default_factory=dict)
    """File -> number of its frames without a person, if there are any."""

    def read(self, path: Path) -> np.ndarray:
        """Reads the points of one clip as [T, 3K]. Raises BadFile."""
        frames = _frames(path)
        first = [_first_person(*frame) for frame in frames]
        shapes = {one.shape for one in first if one is not None}
        if len(shapes) != 1:
            what = "keypoints whose shape differs from frame to frame" if shapes else "no person in any frame"
            raise BadFile(what)
        blank = np.zeros_like(next(one for one in first if one is not None))
        self.persons[path] = max(len(points) if points.ndim == PERSONS else 1 for points, _ in frames)
        if missing := sum(one is None for one in first):
            self.without[path] = missing
        return flat(np.stack([blank if one is None else one for one in first]))

    def remarks(self) -> Iterable[str]:
        """Returns a line about clips with several persons, and one about frames with none."""
        several = [path.name for path, persons in self.persons.items() if persons > 1]
        read = f"of the {len(self.persons):,} clips read now"
        if several:
            yield (
                f"{len(several):,} {read} have more than one person in a frame; the first is "
                f"imported, as Uni-Sign does: {named(several)}"
            )
        if self.without:
            yield (
                f"{sum(self.without.values()):,} frames of {len(self.without):,} {read} have no person; their points "
                f"are imported as 0 with score 0: {named(path.name for path in self.without)}"
            )


def _frames(path: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Reads keypoints and scores of each frame, of all persons. Raises BadFile."""
    if not path.is_file():
        raise BadFile("no such file")
    try:
        pose = load_arrays(path)
    except InputError as error:
        raise BadFile(str(error).removeprefix(f"{path}: ")) from error
    if not isinstance(pose, dict) or "keypoints" not in pose or "scores" not in pose:
        raise BadFile("no dict of keypoints and scores")
    points, scores = _arrays(pose["keypoints"], "keypoints"), _arrays(pose["scores"], "scores")
    if len(points) != len(scores):
        raise BadFile(f"scores of {len(scores):,} frames for keypoints of {len(points):,}")
    return list(zip(points, scores, strict=True))


def _arrays(frames: Any, what: str) -> list[np.ndarray]:
    """Returns an array for each frame, which is empty if the frame has no person."""
    if isinstance(frames, PickledArray):
        frames = list(np.atleast_1d(frames.array()))
    elif not isinstance(frames, list) or not all(_is_frame(one) for one in frames):
        raise BadFile(f"{what} that are no list of arrays")
    if not frames:
        raise BadFile(f"shape [0] of {what} instead of [T, K]")
    return [one.array() if isinstance(one, PickledArray) else np.asarray([] if one is None else one) for one in frames]


def _is_frame(one: Any) -> bool:
    return isinstance(one, PickledArray) or one is None or one == []


def _first_person(points: np.ndarray, scores: np.ndarray) -> np.ndarray | None:
    """Returns [K, 3] of the first person of a frame; None if there is no person. Raises BadFile."""
    if not points.size and not scores.size:
        return None
    if not points.ndim or scores.shape != points.shape[:-1]:
        raise BadFile(f"scores of shape {list(scores.shape)} for keypoints of shape {list(points.shape)} in a frame")
    pose = np.concatenate([points, scores[..., None]], axis=-1)
    return pose[0] if pose.ndim == PERSONS else pose


LAYOUT = UniSign()
