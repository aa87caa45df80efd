"""Reads the kept frames of a clip: a video file or a folder of frames in, uint8 `[T', H, W, 3]` out, in chunks, so that
memory does not grow with the length of a video. Resizes nothing."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from slt_cache.corpora.base import Box, Clip
from slt_cache.video.decode import VideoFile
from slt_cache.video.images import list_images, read_images
from slt_cache.video.stream import FrameStream, VideoError, only_unreadable, require_there


@dataclass(frozen=True)
class KeptFrames:
    """Frames of one clip after downsampling."""

    frames: np.ndarray
    """RGB frames, uint8 [T', H, W, 3]."""
    num_frames: int
    """T, frames of the clip before downsampling: those of the source, or with `video.fps` the resampled ones."""


def kept_indices(num_frames: int, keep_every: int, offset: int = 0) -> range:
    """Returns the indices `offset, offset + keep_every, ...` below T, ceil(T / keep_every) of them for offset 0.

    A clip shorter than the offset keeps its first frame, so that no clip vanishes."""
    return range(min(offset, num_frames - 1), num_frames, keep_every)


def read_kept_frames(
    clip: Clip, keep_every: int, offset: int = 0, fps: float = 0.0, decoder: str = "auto"
) -> KeptFrames:
    """Reads one frame in `keep_every` of the clip, the first at `offset`, after resampling to `fps` frames per second
    unless it is 0. Raises UnreadableVideo."""
    stream = open_frames(clip, keep_every, offset, fps, decoder)
    chunks = list(stream.chunks)
    return KeptFrames(chunks[0] if len(chunks) == 1 else np.concatenate(chunks), stream.num_frames)


def open_frames(clip: Clip, keep_every: int, offset: int = 0, fps: float = 0.0, decoder: str = "auto") -> FrameStream:
    """Opens a clip to read one frame in `keep_every`, the first at `offset`, after resampling to `fps` frames per
    second unless it is 0; `decoder` is that of `video.decoder`. Raises UnreadableVideo."""
    with only_unreadable(clip):
        require_there(clip.video)
        if clip.video.is_dir():
            stream = _open_folder(clip, keep_every, offset, fps)
        else:
            stream = _open_file(clip, keep_every, offset, fps, decoder)
    chunks = stream.chunks if clip.box is None else (_part(frames, clip.box) for frames in stream.chunks)
    return replace(stream, chunks=_guarded(clip, chunks))


def _part(frames: np.ndarray, box: Box) -> np.ndarray:
    """Crops frames [n, H, W, 3] to all pixels that a box touches."""
    height, width = frames.shape[1:3]
    left, top, right, bottom = box
    rows = slice(math.floor(top * height), math.ceil(bottom * height))
    return frames[:, rows, math.floor(left * width) : math.ceil(right * width)]


def _guarded(clip: Clip, chunks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    with only_unreadable(clip):
        yield from chunks


def _open_folder(clip: Clip, keep_every: int, offset: int, fps: float) -> FrameStream:
    images = list_images(clip, fps)
    kept = [images[index] for index in kept_indices(len(images), keep_every, offset)]
    return FrameStream(read_images(kept, images[0]), len(images), 0.0)


def _open_file(clip: Clip, keep_every: int, offset: int, fps: float, decoder: str) -> FrameStream:
    video = VideoFile(clip.video, decoder)
    frames = video.timeline.cut(clip.start, clip.end)
    if not frames:
        raise VideoError(video.timeline.why_empty(clip.start, clip.end))
    shown = video.timeline.resampled(frames, fps, clip.start, clip.end) if fps else frames
    kept = [shown[index] for index in kept_indices(len(shown), keep_every, offset)]
    return FrameStream(video.read(kept), len(shown), fps or video.timeline.fps, video.notes)
