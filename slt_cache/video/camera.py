"""Live video, cut into windows as it comes: from a camera, from a pipe, or from a file that stands in for a camera.

Each window becomes a small lossless video file, so that whatever reads videos reads it as it reads any other."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from slt_cache.advice import command
from slt_cache.errors import InputError, SltCacheError
from slt_cache.video.head import head, orientation_of
from slt_cache.video.packets import SUPPOSED_FPS, opened_source

PIPE = "-"
"""Name of standard input."""
DEVICES = {"linux": "v4l2", "darwin": "avfoundation"}
"""FFmpeg's kind of camera by operating system."""
CLOCK = 90_000
"""Units per second of a window's time stamps."""
HAIR = 1e-6
"""Seconds; tolerance for rounding errors of time stamps."""


@dataclass(frozen=True)
class Window:
    """One window of a live video."""

    path: Path
    """File with its frames; whoever reads it deletes it."""
    start: float
    """Seconds after the first frame."""
    end: float
    arrived: float
    """Time when its last frame arrived (time.monotonic)."""
    is_rest: bool = False
    """Whether the video ended within it."""
    skipped: bool = False
    """Whether it was given up, since newer ones came; its file is gone."""


def is_device(source: str) -> bool:
    """Returns whether the source is a camera, which does not wait for its reader."""
    return source.isdecimal() or (source != PIPE and Path(source).is_char_device())


def require_camera(source: str) -> None:
    """Raises InputError for a source that does not exist on this machine."""
    if "://" in source:
        raise InputError(
            f"--camera {source}: a local camera, a file or {PIPE} is read, and no address. To read a stream: "
            f"ffmpeg -i URL -c copy -f matroska - | {command('translate', camera=PIPE)}"
        )
    if source == PIPE or (source.isdecimal() and sys.platform == "darwin"):
        return
    if source.isdecimal() and sys.platform not in DEVICES:
        raise InputError(f"--camera {source}: numbered cameras are read on Linux and macOS. Use {PIPE} and a pipe.")
    path = _device_file(source) if source.isdecimal() else Path(source)
    if not path.exists():
        found = sorted(str(one) for one in Path("/dev").glob("video*"))
        raise InputError(f"--camera {source}: there is no {path}. Cameras here: {', '.join(found) or 'none'}.")
    if path.is_dir():
        raise InputError(f"--camera {source}: a folder. Name a camera, a video file, or {PIPE} for a pipe.")


def camera_windows(
    source: str, seconds: float, folder: Path, paced: bool, go_on: Callable[[], bool]
) -> Iterator[Window]:
    """Yields the windows of a live video, each of this many seconds, as soon as its last frame has arrived; their files
    are in `folder`. A file is read at its own speed if `paced`, else as fast as it can be. Ends with the video, or when
    `go_on` returns False between two frames. Raises InputError for what is no video, and SltCacheError if the video
    breaks off."""
    began, number, writer, arrived, end = time.monotonic(), 0, _Writer(folder / "0.nut"), 0.0, 0.0
    for count, (frame, second) in enumerate(_frames(source)):
        if not go_on():
            break
        if paced:
            time.sleep(max(0.0, began + second - time.monotonic()))
        if (now := int((second + HAIR) // seconds)) > number:
            writer.close()
            if writer.frames:
                yield Window(writer.path, number * seconds, (number + 1) * seconds, arrived)
            number, writer = now, _Writer(folder / f"{now}.nut")
        writer.add(frame, second - number * seconds)
        arrived, end = time.monotonic(), second + second / max(1, count)
    writer.close()
    if writer.frames:
        yield Window(writer.path, number * seconds, min(end, (number + 1) * seconds), arrived, is_rest=True)


class _Writer:
    """Writes RGB frames without loss."""

    def __init__(self, path: Path):
        self.path = path
        self.frames = 0
        self._container: Any = None

    def add(self, frame: np.ndarray, second: float) -> None:
        """Adds a frame, uint8 [H, W, 3], that is shown at this second; another size than the first frame's is scaled to
        it."""
        import av

        if self._container is None:
            self._container = av.open(str(self.path), "w", format="nut")
            self._stream = self._container.add_stream("ffv1", rate=round(SUPPOSED_FPS))
            self._stream.height, self._stream.width = frame.shape[:2]
            self._stream.pix_fmt = "bgr0"
            self._stream.codec_context.time_base = Fraction(1, CLOCK)
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgb24")
        picture = picture.reformat(self._stream.width, self._stream.height, "bgr0")
        picture.pts, picture.time_base = round(second * CLOCK), Fraction(1, CLOCK)
        self._container.mux(self._stream.encode(picture))
        self.frames += 1

    def close(self) -> None:
        if self._container is not None:
            self._container.mux(self._stream.encode())
            self._container.close()


def _frames(source: str) -> Iterator[tuple[np.ndarray, float]]:
    """Yields upright frames in square pixels, uint8 [H, W, 3], and when each is shown, in seconds after the first."""
    from av.error import FFmpegError
    from av.video.reformatter import VideoReformatter

    converter, first, count = VideoReformatter(), None, 0
    try:
        with _opened(source) as (container, stream):
            found = head(container, stream)
            height, width = found.square
            for picture in container.decode(stream):
                stamp = picture.time if picture.time is not None else count / (found.fps or SUPPOSED_FPS)
                first = stamp if first is None else first
                image = converter.reformat(picture, width, height, "rgb24").to_ndarray()
                yield orientation_of(picture).apply(image), max(0.0, stamp - first)
                count += 1
    except (FFmpegError, ValueError, OSError) as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        if count:
            raise SltCacheError(f"--camera {source}: the video broke off after {count} frames ({reason}).") from error
        raise InputError(
            f"--camera {source}: no video can be read ({reason}). A pipe must carry what can be read from its "
            "beginning: matroska, webm, mpegts, or fragmented mp4."
        ) from error


@contextmanager
def _opened(source: str) -> Iterator[tuple[Any, Any]]:
    if source == PIPE:
        # A duplicate without a buffer, whose lock a thread that waits for input would hold when the program ends.
        with os.fdopen(os.dup(0), "rb", buffering=0) as pipe, opened_source(pipe) as found:
            yield found
        return
    name: str = str(_device_file(source)) if source.isdecimal() else str(Path(source).absolute())
    device = DEVICES.get(sys.platform) if is_device(source) else None
    with opened_source(source if device == "avfoundation" else name, device) as found:
        yield found


def _device_file(number: str) -> Path:
    return Path(f"/dev/video{int(number)}")
