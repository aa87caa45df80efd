"""Measures a video of any kind, and makes a small copy of it that every browser plays."""

import base64
import io
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from slt_cache.app.limits import Limits, limit_memory
from slt_cache.corpora.base import Clip
from slt_cache.video.frames import open_frames
from slt_cache.video.packets import SUPPOSED_FPS, opened
from slt_cache.video.stream import UnreadableVideo
from slt_cache.video.subprocess import WorkerDied, map_in_subprocess

HEIGHT = 270
"""Largest height of the copy in pixels."""
MOST_FRAMES = 500
"""Most frames of the copy; longer videos get a lower frame rate."""
QUALITY = "28"
"""x264's rate factor: small, and good enough to see hands."""


@dataclass(frozen=True)
class VideoSize:
    """Size and length of a video."""

    width: int
    height: int
    frames: int

    @property
    def pixels(self) -> int:
        """Pixels of a frame."""
        return self.width * self.height


def video_size(path: Path) -> VideoSize:
    """Reads the header and counts the packets; decodes nothing. Raises PyAV's errors, and ValueError if there is no
    video in the file."""
    with opened(path) as (container, stream):
        width, height = stream.codec_context.width, stream.codec_context.height
        return VideoSize(width, height, sum(1 for packet in container.demux(stream) if packet.size))


def small_film(clip: Clip, limits: Limits | None = None) -> str:
    """Returns an mp4 of the clip as a data URI; empty if it cannot be made. Decodes in a separate process, with no more
    memory than `limits` allow."""
    [film] = map_in_subprocess(partial(_encoded, limits=limits), [clip])
    if isinstance(film, WorkerDied) or not film:
        return ""
    return "data:video/mp4;base64," + base64.b64encode(film).decode("ascii")


def _encoded(clip: Clip, limits: Limits | None) -> bytes:
    """Encodes the clip as H.264 in mp4; empty if it cannot be read."""
    import av

    if limits is not None:
        limit_memory(limits)
    try:
        whole = open_frames(clip, 1)
        every = -(-whole.num_frames // MOST_FRAMES)
        fps = round((whole.fps or SUPPOSED_FPS) / every) or 1
        file = io.BytesIO()
        with av.open(file, "w", format="mp4") as container:
            stream = container.add_stream("libx264", rate=fps)
            stream.pix_fmt = "yuv420p"
            stream.options = {"crf": QUALITY, "preset": "veryfast"}
            for chunk in open_frames(clip, every).chunks:
                for frame in chunk:
                    small = _small(frame)
                    if not stream.codec_context.is_open:
                        stream.height, stream.width = small.shape[:2]
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(small, format="rgb24")))
            container.mux(stream.encode())
    except (UnreadableVideo, av.error.FFmpegError, OSError, ValueError, MemoryError):
        return b""
    return file.getvalue()


def _small(frame: np.ndarray) -> np.ndarray:
    """Resizes a frame to uint8 [H, W, 3], at most HEIGHT high, with even sides as H.264 requires."""
    height, width = frame.shape[:2]
    scale = min(1.0, HEIGHT / height)
    size = (max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2))
    return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BILINEAR))
