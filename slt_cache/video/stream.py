"""The result of every reader of frames: the kept frames of one clip in chunks, or why they cannot be read. Opens
nothing."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from slt_cache.corpora.base import Clip
from slt_cache.errors import InputError

REPAIR = "Repair the video, or remove the clip from the manifest."
GET_WHOLE = "Get the complete file, or remove the clip from the manifest."
CUT_OFF = "its frames cannot be read; it may be cut off"
FREE_MEMORY = "Free memory, or lower compute.workers, and run the same command again."
MOST_PIXELS = 89_478_485
"""Pillow's limit for an image, nearly three times 8K. A file of a few kilobytes can contain frames of gigabytes."""
MOST_CHARACTERS = 150
"""Longest quotation of a library's error."""
CHUNK_BYTES = 32_000_000
"""Largest size of a chunk of frames as they come from the file, unless a single frame is larger."""


FramesAt = Callable[[list[int]], np.ndarray]
"""Function from distinct ascending indices to their frames, uint8 [n, H, W, 3]. Raises VideoError."""


class VideoError(Exception):
    """Raised if frames of a video cannot be read, with the reason; `only_unreadable` adds the clip."""

    def __init__(self, reason: str, advice: str = REPAIR):
        super().__init__(reason)
        self.reason = reason
        self.advice = advice


class UnreadableVideo(InputError):
    """Raised for a clip whose frames cannot be read; the message has the clip and the reason."""

    def __init__(self, clip_id: str, video: Path, reason: str, advice: str = REPAIR):
        super().__init__(f"clip {clip_id!r} ({video}): {reason}. {advice}")
        self.clip_id = clip_id
        self.video = video
        self.reason = reason
        self.advice = advice

    def __reduce__(self) -> tuple[type["UnreadableVideo"], tuple[str, Path, str, str]]:
        """Supports pickling by reader processes, which would otherwise call `__init__` with the message alone."""
        return type(self), (self.clip_id, self.video, self.reason, self.advice)


@dataclass(frozen=True)
class FrameStream:
    """The kept frames of one clip, opened for reading once."""

    chunks: Iterator[np.ndarray]
    """Chunks of upright RGB frames in order, uint8 [n, H, W, 3], of about CHUNK_BYTES. Raises UnreadableVideo."""
    num_frames: int
    """T, frames of the clip before downsampling: those of the source, or with `video.fps` the resampled ones."""
    fps: float
    """Rate of these frames per second: that of the source, or `video.fps` if set; 0 for a folder, which has no rate."""
    notes: tuple[str, ...] = ()
    """Warnings about a video that can be read."""


@contextmanager
def only_unreadable(clip: Clip) -> Iterator[None]:
    """Turns whatever is raised while a clip is read in this block into UnreadableVideo, so only this clip is lost."""
    try:
        yield
    except (UnreadableVideo, AssertionError):
        raise
    except Exception as error:
        found = _video_error(error)
        raise UnreadableVideo(clip.id, clip.video, found.reason, found.advice) from error


def _video_error(error: Exception) -> VideoError:
    if isinstance(error, VideoError):
        return error
    if isinstance(error, MemoryError):
        return VideoError("there is not enough memory to read it", FREE_MEMORY)
    text = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
    return VideoError(f"it cannot be read ({' '.join(text.split())[:MOST_CHARACTERS]})")


def require_there(video: Path) -> None:
    """Raises VideoError unless there is a file or a folder. Opening anything else, such as a named pipe, may block for
    ever."""
    if not video.is_file() and not video.is_dir():
        exists = video.exists()
        raise VideoError("it is neither a file nor a folder" if exists else "there is no such file or folder")


def frames_per_chunk(frame: np.ndarray) -> int:
    """Returns the number of frames of this size in a chunk."""
    return max(1, CHUNK_BYTES // frame.nbytes)


def in_chunks(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Stacks frames [H, W, 3] in chunks, uint8 [n, H, W, 3]."""
    chunk: list[np.ndarray] = []
    for frame in frames:
        chunk.append(frame)
        if len(chunk) == frames_per_chunk(frame):
            yield np.stack(chunk)
            chunk = []
    if chunk:
        yield np.stack(chunk)
