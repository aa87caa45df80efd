"""A video of any kind -> how large it is, and a small copy of it that every browser plays."""

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
from slt_cache.video.packets import opened
from slt_cache.video.stream import UnreadableVideo
from slt_cache.video.subprocess import WorkerDied, map_apart

HEIGHT = 270
"""Pixels of the copy, at most."""
MOST_FRAMES = 500
"""Of the copy; a longer video is shown with fewer frames a second."""
SUPPOSED_FPS = 25.0
"""Frames a second of a file that does not tell."""
QUALITY = "28"
"""x264's rate factor: small, and good enough to see hands."""


@dataclass(frozen=True)
class VideoSize:
    """What a file says of itself."""

    width: int
    height: int
    frames: int

    @property
    def pixels(self) -> int:
        """Of a frame."""
        return self.width * self.height


def video_size(path: Path) -> VideoSize:
    """Reads the header and counts the packets; decodes nothing. Raises what PyAV raises, and ValueError where there is
    no video in it."""
    with opened(path) as (container, stream):
        width, height = stream.codec_context.width, stream.codec_context.height
        return VideoSize(width, height, sum(1 for packet in container.demux(stream) if packet.size))


def small_film(clip: Clip, limits: Limits | None = None) -> str:
    """An mp4 of the clip as a data URI; empty where it cannot be made. Decoded in a process of its own, with no more
    memory than `limits` leave it."""
    [film] = map_apart(partial(_encoded, limits=limits), [clip])
    if isinstance(film, WorkerDied) or not film:
        return ""
    return "data:video/mp4;base64," + base64.b64encode(film).decode("ascii")


def _encoded(clip: Clip, limits: Limits | None) -> bytes:
    """H.264 in mp4; nothing where the clip cannot be read."""
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
            for piece in open_frames(clip, every).pieces:
                for frame in piece:
                    small = _small(frame)
                    if not stream.codec_context.is_open:
                        stream.height, stream.width = small.shape[:2]
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(small, format="rgb24")))
            container.mux(stream.encode())
    except (UnreadableVideo, av.error.FFmpegError, OSError, ValueError, MemoryError):
        return b""
    return file.getvalue()


def _small(frame: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3], at most HEIGHT high, both sides even as H.264 wants them."""
    height, width = frame.shape[:2]
    scale = min(1.0, HEIGHT / height)
    size = (max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2))
    return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BILINEAR))
