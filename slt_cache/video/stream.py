"""What every reader of frames gives: the kept frames of one clip, piece by piece, or why they cannot be had. Opens
nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from slt_cache.corpora.base import Clip
from slt_cache.errors import InputError

REPAIR = "Repair the video, or take the clip out of the manifest."
GET_WHOLE = "Get the whole file, or take the clip out of the manifest."
FREE_MEMORY = "Free memory, or lower compute.workers, and run the same command again."
MOST_PIXELS = 89_478_485
"""Of a frame; Pillow's own limit, nearly three times 8K. A file of some kilobytes can hold frames of gigabytes."""
MOST_CHARACTERS = 150
"""Of what a library says."""
PIECE_BYTES = 32_000_000
"""Frames as they come from the file that are held at once."""


class VideoError(Exception):
    """Why frames of a video cannot be had, raised where that is found; `only_unreadable` adds the clip."""

    def __init__(self, reason: str, advice: str = REPAIR):
        super().__init__(reason)
        self.reason = reason
        self.advice = advice


class UnreadableVideo(InputError):
    """A clip whose frames cannot be had; the message gives the clip and the reason."""

    def __init__(self, clip_id: str, video: Path, reason: str, advice: str = REPAIR):
        super().__init__(f"clip {clip_id!r} ({video}): {reason}. {advice}")
        self.clip_id = clip_id
        self.video = video
        self.reason = reason
        self.advice = advice

    def __reduce__(self) -> tuple[type["UnreadableVideo"], tuple[str, Path, str, str]]:
        """Reader processes send it by pickle, which would hand `__init__` the message alone."""
        return type(self), (self.clip_id, self.video, self.reason, self.advice)


@dataclass(frozen=True)
class FrameStream:
    """The kept frames of one clip, opened and not yet read; to be read once."""

    pieces: Iterator[np.ndarray]
    """uint8 [n, H, W, 3], RGB, upright, in order, at most PIECE_BYTES each unless a single frame is larger. Raises
    UnreadableVideo."""
    num_frames: int
    """T, frames of the clip before downsampling: those of the source, or with `video.fps` the resampled ones."""
    fps: float
    """Of these frames, a second: the source's rate, or `video.fps` where set; 0 for a folder, which has no rate."""
    notes: tuple[str, ...] = ()
    """What a user should know of the video, though it can be read."""


@contextmanager
def only_unreadable(clip: Clip) -> Iterator[None]:
    """Reads a clip in this block: whatever is raised in it costs this clip alone, as UnreadableVideo."""
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
    """Raises VideoError unless there is a file or a folder. To open anything else, such as a named pipe, may take for
    ever."""
    if not video.is_file() and not video.is_dir():
        there = video.exists()
        raise VideoError("it is neither a file nor a folder" if there else "there is no such file or folder")


def frames_a_piece(frame: np.ndarray) -> int:
    """How many frames like this one are held at once."""
    return max(1, PIECE_BYTES // frame.nbytes)
