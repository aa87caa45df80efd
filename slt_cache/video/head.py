"""What the head of a video file and its first frame say: its clock, its rate, the shape of its pixels, and how it is to
be turned. Decodes one frame."""

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
"""Times that a pixel may be wider than high, or higher than wide; no camera and no standard comes near it."""
MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class Orientation:
    """How a player turns the frames of a video, as its display matrix says."""

    transposed: bool = False
    """Rows become columns; comes before the mirrors."""
    mirrored: bool = False
    """Left becomes right."""
    upended: bool = False
    """Top becomes bottom."""

    def apply(self, frame: np.ndarray) -> np.ndarray:
        """[H, W, 3] -> [H, W, 3] or [W, H, 3]"""
        if self.transposed:
            frame = frame.swapaxes(0, 1)
        return frame[:: -1 if self.upended else 1, :: -1 if self.mirrored else 1]


UPRIGHT = Orientation()


@dataclass(frozen=True)
class Head:
    """What a file says of its video stream."""

    containers: frozenset[str]
    """FFmpeg's names for its kind."""
    time_base: float
    """Seconds"""
    fps: float
    """Frames a second on average; 0 where it does not say."""
    zero: float | None
    """Seconds of the streams' clock at which the container's clock begins; None where it has none."""
    duration: float
    """Seconds; 0 where it is not known."""
    reordered: bool
    """Whether frames may be shown in another order than they are stored in."""
    b_frames: bool
    stored: tuple[int, int]
    """Height and width of its frames."""
    aspect: Fraction
    """Width of a pixel by its height, as container or codec say."""
    transfer: int
    """Transfer characteristics, by their number in ITU-T H.273."""

    @property
    def is_avi(self) -> bool:
        return "avi" in self.containers

    @property
    def square(self) -> tuple[int, int]:
        """Height and width of a frame in square pixels, as a player shows it: its height stays."""
        height, width = self.stored
        return height, max(1, round(width * self.aspect)) if self._is_usable() else width

    def notes(self) -> Iterator[str]:
        """What a user should know of the video, though it can be read."""
        if self.transfer in HDR:
            yield (
                f"it is in HDR ({HDR[self.transfer]}), and its brightness is taken as it is stored: colours look paler "
                "than in a player. Convert it to SDR unless the encoder was trained on such videos"
            )
        if not self._is_usable():
            yield f"its pixels are said to be {float(self.aspect):.3g} times as wide as high; they are taken for square"

    def _is_usable(self) -> bool:
        return 1 / MOST_ASPECT <= self.aspect <= MOST_ASPECT


def head(container: Any, stream: Any) -> Head:
    """Of PyAV's container and stream."""
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
    """What only a decoded frame tells."""

    orientation: Orientation = UPRIGHT
    size: tuple[int, int] | None = None
    """Height and width; None where it cannot be decoded, which is noticed when it is read."""


def first_frame(decoder: Any, packet: Any) -> FirstFrame:
    """Decodes a packet with a key frame. The display matrix rides on the frames; PyAV does not tell that of the
    stream."""
    from av.error import FFmpegError

    try:
        frames = decoder.decode(packet) or decoder.decode(None)
    except FFmpegError:
        frames = []
    if not frames:
        return FirstFrame()
    size = (frames[0].height, frames[0].width)
    matrix = frames[0].side_data.get("DISPLAYMATRIX")
    return FirstFrame(UPRIGHT if matrix is None else _orientation(bytes(matrix)), size)


def _orientation(matrix: bytes) -> Orientation:
    # x' = a x + c y, y' = b x + d y
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Orientation(True, mirrored=c < 0, upended=b < 0)
    return Orientation(False, mirrored=a < 0, upended=d < 0)
