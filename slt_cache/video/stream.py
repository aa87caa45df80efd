"""What every reader of frames gives: the kept frames of one clip, piece by piece, or why they cannot be had. Opens
nothing."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from slt_cache.errors import InputError

PIECE_BYTES = 32_000_000
"""Frames as they come from the file that are held at once."""


class UnreadableVideo(InputError):
    """A clip whose frames cannot be had; the message gives the clip and the reason."""

    def __init__(self, clip_id: str, video: Path, reason: str):
        super().__init__(
            f"clip {clip_id!r} ({video}): {reason}. Repair the video, or take the clip out of the manifest."
        )
        self.clip_id = clip_id
        self.video = video
        self.reason = reason

    def __reduce__(self) -> tuple[type["UnreadableVideo"], tuple[str, Path, str]]:
        """Reader processes send it by pickle, which would hand `__init__` the message alone."""
        return type(self), (self.clip_id, self.video, self.reason)


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


def frames_a_piece(frame: np.ndarray) -> int:
    """How many frames like this one are held at once."""
    return max(1, PIECE_BYTES // frame.nbytes)
