"""What the packets of a video file tell: how many frames, when each is shown, which can be decoded without others, and
how they are to be turned. Decodes one frame, the first."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

SEEKABLE = {"mp4", "matroska", "webm"}
"""Containers with an index by which decord finds the key frames; in the others it lands somewhere near."""
CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegvideo,mpegts,mpegtsraw,flv,asf,ogg,mxf,nut,ivf,dv,gif,rm,swf,vob,"
    "wtv,gxf,y4m,yuv4mpegpipe,m4v,h261,h263,h264,hevc,av1,obu,mjpeg,webp_pipe,apng"
)
"""What FFmpeg may take a file for: one that holds its video itself. A playlist (m3u8, mpd, concat), which may come from
a stranger, would have any file of this machine read."""
SHORT = 1_000_000
"""Bytes; an index of so few packets takes some kilobytes."""
NARROWEST = 64
"""Pixels. The rows of a narrower frame are padded, by how much depends on the processor, and decord takes the padding
for colour channels."""


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
class PacketIndex:
    """What the packets of a video file tell."""

    num_frames: int
    """Frames that are shown."""
    fps: float
    """Frames a second on average, as the file says; 0 where it does not."""
    pts: np.ndarray | None
    """int64 [num_frames], ascending, in units of the stream, as decoded frames have them; None where the packets do
    not tell."""
    seconds: np.ndarray | None
    """float64 [num_frames], ascending, from the first frame on; None where the packets do not tell."""
    key_pts: np.ndarray
    """int64, ascending: of the frames from which on decoding can begin; empty where `pts` is None."""
    orientation: Orientation
    exact_seeks: bool
    """Whether decord finds each frame and gives it as a player shows it. It counts packets as they are stored; where
    frames behind a key frame are shown before it (an open group of pictures), where a file says to drop some, or where
    the container has no times, it gives wrong frames after seeking."""


def packet_index(path: Path) -> PacketIndex:
    """Reads through all packets. Remembered are the last few files, since many clips may be cut from one video, and
    many short ones, since training reads each every epoch. Raises ValueError where the file cannot be read."""
    status = path.stat()
    remembered = _of_short_file if status.st_size <= SHORT else _of_long_file
    return remembered(path, status.st_size, status.st_mtime_ns)


@contextmanager
def opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """PyAV's container and the stream that decord takes too, decoded by one thread."""
    import av

    options = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}
    try:
        # Absolute, for FFmpeg takes what stands before a colon for a protocol.
        container = av.open(str(path.absolute()), options=options)
    except av.error.ArgumentError as error:  # FFmpeg's word for what is not on the list
        raise ValueError("a playlist, or a container that is not supported") from error
    with container:
        stream = container.streams.best("video")
        if stream is None or stream.codec_context is None:
            raise ValueError("it holds no video")
        stream.codec_context.thread_count = 1
        try:
            yield container, stream
        finally:
            stream.codec_context.flush_buffers()  # else the frames it holds stay until the garbage is collected


def _packet_index(path: Path, size: int, changed: int) -> PacketIndex:
    """`size` and `changed` tell a file that was written anew."""
    orientation: Orientation | None = None
    packets: list[tuple[int | None, bool, bool]] = []
    with opened(path) as (container, stream):
        for packet in container.demux(stream):
            if not packet.size:
                continue
            if orientation is None and packet.is_keyframe:
                orientation = _orientation(stream.codec_context, packet)
            hidden = stream.codec_context.name == "vp8" and not bytes(packet)[0] >> 4 & 1  # RFC 6386, 9.1
            packets.append((packet.pts, packet.is_keyframe, packet.is_discard or hidden))
        containers = set(container.format.name.split(","))
        # Avi numbers packets as they are stored; where frames are shown in another order, their times are not these.
        ordered = "avi" in containers and stream.codec_context.has_b_frames
        plain = bool(SEEKABLE & containers) and stream.width >= NARROWEST and orientation == UPRIGHT
        time_base, fps = float(stream.time_base), float(stream.average_rate or stream.guessed_rate or 0)
    shown = np.array([not discard for _, _, discard in packets], bool)
    keys = np.array([key for _, key, _ in packets], bool)
    known = {time for time, _, _ in packets if time is not None}
    orientation = orientation or UPRIGHT
    if not keys.any() or len(known) < len(packets):
        return PacketIndex(int(shown.sum()), fps, None, None, np.array([], np.int64), orientation, False)
    stored = np.array([time for time, _, _ in packets], np.int64)
    # What a recording that begins between two key frames shows before the first one cannot be decoded.
    pts = np.sort(stored[shown & (stored >= stored[keys.argmax()])])
    seconds = (pts - pts[:1]) * time_base
    if ordered:
        return PacketIndex(len(pts), fps, None, seconds, np.array([], np.int64), orientation, False)
    exact = plain and len(pts) == len(stored) and _in_order(stored, keys)
    return PacketIndex(len(pts), fps, pts, seconds, np.sort(stored[keys]), orientation, exact)


_of_short_file = lru_cache(maxsize=8192)(_packet_index)
_of_long_file = lru_cache(maxsize=4)(_packet_index)


def _in_order(stored: np.ndarray, keys: np.ndarray) -> bool:
    """Whether all that is stored before a key frame is shown before it, and the rest after it."""
    before = np.maximum.accumulate(stored)
    after = np.minimum.accumulate(stored[::-1])[::-1]
    return bool(keys[0] and np.all(before[keys] == stored[keys]) and np.all(after[keys] == stored[keys]))


def _orientation(decoder: Any, packet: Any) -> Orientation:
    """The matrix rides on the decoded frames; PyAV does not tell that of the stream."""
    from av.error import FFmpegError

    try:
        frames = decoder.decode(packet) or decoder.decode(None)
    except FFmpegError:
        return UPRIGHT  # a broken frame is noticed when it is read
    matrix = frames[0].side_data.get("DISPLAYMATRIX") if frames else None
    if matrix is None:
        return UPRIGHT
    # x' = a x + c y, y' = b x + d y
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Orientation(True, mirrored=c < 0, upended=b < 0)
    return Orientation(False, mirrored=a < 0, upended=d < 0)
