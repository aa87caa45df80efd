"""Reads the head of a video file and its first frame: its clock, its rate, the shape of its pixels and its orientation.
Decodes one frame."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

# fmt: off
SHOWN_AS_STORED = frozenset({
    "vp8", "vp9", "av1", "mjpeg", "ffv1", "png", "apng", "gif", "theora", "huffyuv", "ffvhuff",
    "utvideo", "rawvideo", "prores", "dnxhd", "flv1", "h263", "vp6", "vp6f", "dvvideo", "jpeg2000",
    "qtrle", "cinepak",
})
# fmt: on
"""Codecs that store frames in the order in which they are shown."""
HDR = {16: "PQ", 18: "HLG"}
"""Transfer characteristics of ITU-T H.273, table 3."""
MOST_ASPECT = 8
"""Largest ratio of a pixel's sides; no camera and no standard comes near it."""
MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class Orientation:
    """Orientation of the frames of a video, according to its display matrix."""

    transposed: bool = False
    """Rows become columns, before any mirroring."""
    mirrored: bool = False
    """Left becomes right."""
    upended: bool = False
    """Top becomes bottom."""

    def apply(self, frame: np.ndarray) -> np.ndarray:
        """Turns a frame: [H, W, 3] -> [H, W, 3] or [W, H, 3]."""
        if self.transposed:
            frame = frame.swapaxes(0, 1)
        return frame[:: -1 if self.upended else 1, :: -1 if self.mirrored else 1]


UPRIGHT = Orientation()


@dataclass(frozen=True)
class Head:
    """Metadata of a file's video stream."""

    containers: frozenset[str]
    """FFmpeg's names of the container."""
    time_base: float
    """Seconds per unit of time stamps."""
    fps: float
    """Average frame rate; 0 if not stated."""
    zero: float | None
    """Seconds of the streams' clock at which the container's clock begins; None if it has none."""
    duration: float
    """Seconds; 0 if unknown."""
    reordered: bool
    """Whether frames may be shown in another order than they are stored."""
    b_frames: bool
    stored: tuple[int, int]
    """Height and width of its frames."""
    aspect: Fraction
    """Width of a pixel divided by its height, according to container or codec."""
    transfer: int
    """Transfer characteristics, by their number in ITU-T H.273."""

    @property
    def is_avi(self) -> bool:
        return "avi" in self.containers

    @property
    def square(self) -> tuple[int, int]:
        """Height and width of a frame in square pixels, as a player shows it; the height is kept."""
        height, width = self.stored
        return height, max(1, round(width * self.aspect)) if self._is_usable() else width

    def notes(self) -> Iterator[str]:
        """Yields warnings about a video that can be read."""
        if self.transfer in HDR:
            yield (
                f"it is in HDR ({HDR[self.transfer]}), and its brightness is used as it is stored: colours look paler "
                "than in a player. Convert it to SDR unless the encoder was trained on such videos"
            )
        if not self._is_usable():
            yield f"it states pixels {float(self.aspect):.3g} times as wide as high; they are treated as square"

    def _is_usable(self) -> bool:
        return 1 / MOST_ASPECT <= self.aspect <= MOST_ASPECT


def head(container: Any, stream: Any) -> Head:
    """Returns the metadata of PyAV's container and stream."""
    codec = stream.codec_context
    return Head(
        containers=frozenset(container.format.name.split(",")),
        time_base=float(stream.time_base),
        fps=float(stream.average_rate or stream.guessed_rate or 0),
        zero=None if container.start_time is None else container.start_time / MICROSECONDS,
        duration=(container.duration or 0) / MICROSECONDS,
        reordered=codec.codec.canonical_name not in SHOWN_AS_STORED,
        b_frames=bool(codec.has_b_frames),
        stored=(codec.height, codec.width),
        aspect=Fraction(stream.sample_aspect_ratio or 1),
        transfer=int(codec.color_trc or 0),
    )


@dataclass(frozen=True)
class FirstFrame:
    """Properties that only a decoded frame reveals."""

    orientation: Orientation = UPRIGHT
    size: tuple[int, int] | None = None
    """Height and width; None if it cannot be decoded, which reading reports."""


def first_frame(decoder: Any, packet: Any) -> FirstFrame:
    """Decodes a packet with a key frame. The display matrix is taken from the frame; PyAV does not expose that of the
    stream."""
    from av.error import FFmpegError

    try:
        frames = decoder.decode(packet) or decoder.decode(None)
    except FFmpegError:
        frames = []
    if not frames:
        return FirstFrame()
    return FirstFrame(orientation_of(frames[0]), (frames[0].height, frames[0].width))


def orientation_of(frame: Any) -> Orientation:
    """Returns the orientation that PyAV's decoded frame states."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    return UPRIGHT if matrix is None else _orientation(bytes(matrix))


def _orientation(matrix: bytes) -> Orientation:
    # x' = a x + c y, y' = b x + d y
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Orientation(True, mirrored=c < 0, upended=b < 0)
    return Orientation(False, mirrored=a < 0, upended=d < 0)
