"""Kept frames of a clip: a video file or a folder of frames in, uint8 `[T', H, W, 3]` out, piece by piece, so that
memory does not grow with the length of a video. Resizes nothing."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from slt_cache.corpora.base import Clip
from slt_cache.video.decode import VideoFile
from slt_cache.video.images import list_images, read_images
from slt_cache.video.stream import FrameStream, VideoError, only_unreadable, require_there


@dataclass(frozen=True)
class KeptFrames:
    """What downsampling leaves of one clip."""

    frames: np.ndarray
    """uint8 [T', H, W, 3], RGB."""
    num_frames: int
    """T, frames of the clip before downsampling: those of the source, or with `video.fps` the resampled ones."""


def kept_indices(num_frames: int, keep_every: int, phase: int = 0) -> range:
    """Indices `phase, phase + keep_every, ...` below T; with phase 0 there are ceil(T / keep_every).

    A clip shorter than the phase keeps its first frame, so that no clip vanishes."""
    return range(min(phase, num_frames - 1), num_frames, keep_every)


def read_kept_frames(clip: Clip, keep_every: int, phase: int = 0, fps: float = 0.0) -> KeptFrames:
    """Reads one frame in `keep_every` of the clip, the first at `phase`, after resampling to `fps` frames a second
    where that is not 0. Raises UnreadableVideo."""
    stream = open_frames(clip, keep_every, phase, fps)
    pieces = list(stream.pieces)
    return KeptFrames(pieces[0] if len(pieces) == 1 else np.concatenate(pieces), stream.num_frames)


def open_frames(clip: Clip, keep_every: int, phase: int = 0, fps: float = 0.0) -> FrameStream:
    """Opens a clip to read one frame in `keep_every`, the first at `phase`, after resampling to `fps` frames a second
    where that is not 0. Raises UnreadableVideo."""
    with only_unreadable(clip):
        require_there(clip.video)
        opener = _open_folder if clip.video.is_dir() else _open_file
        stream = opener(clip, keep_every, phase, fps)
    return replace(stream, pieces=_guarded(clip, stream.pieces))


def _guarded(clip: Clip, pieces: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    with only_unreadable(clip):
        yield from pieces


def _open_folder(clip: Clip, keep_every: int, phase: int, fps: float) -> FrameStream:
    images = list_images(clip, fps)
    kept = [images[index] for index in kept_indices(len(images), keep_every, phase)]
    return FrameStream(read_images(kept, images[0]), len(images), 0.0)


def _open_file(clip: Clip, keep_every: int, phase: int, fps: float) -> FrameStream:
    video = VideoFile(clip.video)
    frames = video.timeline.cut(clip.start, clip.end)
    if not frames:
        raise VideoError(video.timeline.why_empty(clip.start, clip.end))
    shown = video.timeline.resampled(frames, fps, clip.start, clip.end) if fps else frames
    kept = [shown[index] for index in kept_indices(len(shown), keep_every, phase)]
    return FrameStream(video.read(kept), len(shown), fps or video.timeline.fps, video.notes)
