"""What the packets of a video file tell: how many frames, when each is shown, which can be decoded without others, and
whether the file is whole. Decodes one frame, the first."""

import math
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from slt_cache.video.head import UPRIGHT, FirstFrame, Head, Orientation, first_frame, head
from slt_cache.video.stamps import REORDERED, Stamps, repair
from slt_cache.video.stream import MOST_PIXELS
from slt_cache.video.timeline import timeline
from slt_cache.video.whole import Stated, stated

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
ROUNDED = 1e-5
"""Seconds by which FFmpeg rounds the beginning of a file's clock, and more."""
SUPPOSED_FPS = 25.0
"""Frames a second of a file that does not say, to tell where it ends."""
TORN = "it ends in the middle of a packet and states no length; it may be the beginning of a longer video"
REPAIRED_QUIETLY = 1
"""Time stamps of a video that are repaired without a word."""


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
    own: np.ndarray | None
    """bool [num_frames], whether a time in `pts` tells a frame from all others; where one repeats or is missing it is
    set between its neighbours."""
    seconds: np.ndarray | None
    """float64 [num_frames], ascending, by the container's clock; None where the packets do not tell."""
    last: float | None
    """Seconds for which the last frame is shown; None where the file does not say."""
    key_pts: np.ndarray
    """int64, ascending: of the frames from which on decoding can begin; empty where `pts` is None."""
    orientation: Orientation
    size: tuple[int, int]
    """Height and width of each frame in square pixels, before it is turned. Where a video changes its resolution, all
    frames are scaled to that of the first."""
    notes: tuple[str, ...]
    """What a user should know of the video, though it can be read."""
    cut_off: str | None
    """Where it ends, if it is known to be the beginning of a longer video."""
    exact_seeks: bool
    """Whether decord finds each frame and gives it as a player shows it. It counts packets as they are stored; where
    frames behind a key frame are shown before it (an open group of pictures), where a file says to drop some, or where
    the container has no times, it gives wrong frames after seeking."""


def packet_index(path: Path) -> PacketIndex:
    """Reads through all packets. Remembered are the last few files, since many clips may be cut from one video, and
    many short ones, since training reads each every epoch. Raises ValueError where the file cannot be read."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is not a file")
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
        decoder: Any = stream.codec_context
        if decoder.width * decoder.height > MOST_PIXELS:
            raise ValueError(f"frames of {decoder.width} x {decoder.height} pixels are larger than any that are read")
        decoder.options = {"max_pixels": str(MOST_PIXELS)}
        decoder.thread_count = 1
        try:
            yield container, stream
        finally:
            decoder.flush_buffers()  # else the frames it holds stay until the garbage is collected


def _packet_index(path: Path, size: int, changed: int) -> PacketIndex:
    """`size` and `changed` tell a file that was written anew."""
    with opened(path) as (container, stream):
        found = head(container, stream)
        try:
            packets = _read(container, stream)
        except IndexError as error:  # PyAV's for a packet of a stream that the head does not name
            raise ValueError("its streams are damaged") from error
    return _index(path, found, packets)


@dataclass
class _Packets:
    """What each packet with a frame in it tells, in the order in which they are stored."""

    pts: list[int | None]
    dts: list[int | None]
    keys: list[bool]
    shown: list[bool]
    last: float = 0.0
    """Seconds for which the frame is shown that is shown last; 0 where it is not known."""
    first: FirstFrame | None = None


def _read(container: Any, stream: Any) -> _Packets:
    found = _Packets([], [], [], [])
    latest, time_base, vp8 = -math.inf, float(stream.time_base), stream.codec_context.name == "vp8"
    for packet in container.demux(stream):
        if not packet.size:
            continue
        key, pts = packet.is_keyframe, packet.pts
        if found.first is None and key:
            found.first = first_frame(stream.codec_context, packet)
        shown = not packet.is_discard and not (vp8 and not bytes(packet)[0] >> 4 & 1)  # hidden: RFC 6386, 9.1
        if shown and pts is not None and pts > latest:
            latest, found.last = pts, (packet.duration or 0) * time_base
        found.pts.append(pts)
        found.dts.append(packet.dts)
        found.keys.append(key)
        found.shown.append(shown)
    return found


def _index(path: Path, found: Head, packets: _Packets) -> PacketIndex:
    keys, shown = np.array(packets.keys, bool), np.array(packets.shown, bool)
    stored = np.array([math.nan if time is None else time for time in packets.pts], np.float64)
    shown &= ~_before_first_key(stored, keys)
    reordered = found.reordered and packets.pts != packets.dts  # no decoder delays frames that are shown at once
    stamps = repair([packets.pts[number] for number in np.flatnonzero(shown)], reordered)
    asked, first = stated(path), packets.first or FirstFrame()
    stored_size = found.stored
    found = replace(found, stored=first.size or stored_size)
    plain = bool(SEEKABLE & found.containers) and first.orientation == UPRIGHT
    index = PacketIndex(
        num_frames=int(shown.sum()),
        fps=found.fps,
        pts=None,
        own=None,
        seconds=None if stamps.times is None else _seconds(found, stamps.times, packets, shown),
        last=packets.last or None,
        key_pts=np.array([], np.int64),
        orientation=first.orientation,
        size=found.square,
        notes=(*found.notes(), *_stamp_notes(stamps, packets.pts), *([TORN] if asked.torn else [])),
        cut_off=None,
        exact_seeks=False,
    )
    index = replace(index, cut_off=_cut_off(path, asked, found, index))
    # Avi numbers packets as they are stored; where frames are shown in another order, their times are not these.
    if stamps.times is None or not keys.any() or (found.is_avi and found.b_frames):
        return index
    own_keys = keys & ~np.isnan(stored)
    if not stamps.own.all():
        own_keys &= ~shown | np.isin(stored, stamps.times[stamps.own])
    exact = plain and stored_size == found.square and stored_size[1] >= NARROWEST
    exact = exact and bool(stamps.own.all()) and len(stamps.times) == len(stored) and _in_order(stored, keys)
    pts, key_pts = np.rint(stamps.times).astype(np.int64), np.sort(stored[own_keys]).astype(np.int64)
    if not len(key_pts) or key_pts[0] > pts[0]:
        return index
    return replace(index, pts=pts, own=stamps.own, key_pts=key_pts, exact_seeks=exact)


def _before_first_key(stored: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """bool [n]: what a recording that begins between two key frames shows before the first one, so that it cannot be
    decoded. It is stored before it, or directly after it."""
    before = np.zeros(len(stored), bool)
    if keys.any():
        first = int(keys.argmax())
        after = stored[first + 1 :] >= stored[first]
        leading = int(after.argmax()) if after.any() else 0
        end = first + 1 + (leading if leading <= REORDERED else 0)
        before[:end] = stored[:end] < stored[first]
    return before


def _seconds(found: Head, pts: np.ndarray, packets: _Packets, shown: np.ndarray) -> np.ndarray:
    """When each frame is shown, by the container's clock."""
    times = pts
    if found.is_avi and None not in packets.dts:
        # Avi tells when frames are decoded, which is when they are shown; FFmpeg guesses a delay where B-frames may be.
        decoded = np.sort(np.array(packets.dts, np.float64)[shown])
        times = decoded if np.all(np.diff(decoded) > 0) else pts
    seconds = times * found.time_base
    begin = seconds[0] if found.zero is None else min(found.zero, seconds[0])
    clock: np.ndarray = seconds - (seconds[0] if seconds[0] - begin < ROUNDED else begin)
    return clock


def _stamp_notes(stamps: Stamps, pts: Sequence[int | None]) -> Iterator[str]:
    count = len(stamps.own)
    if stamps.times is None and any(time is not None for time in pts):
        yield (
            f"most time stamps of its {count} frames repeat, are missing or begin again; its frames are taken to come "
            "evenly, and a cut of it may be the wrong one"
        )
    elif stamps.times is not None and stamps.repaired > REPAIRED_QUIETLY:
        yield (
            f"{stamps.repaired} of the time stamps of its {count} frames repeat, are missing or run backwards; they "
            "are set evenly between their neighbours"
        )


def _cut_off(path: Path, asked: Stated, found: Head, index: PacketIndex) -> str | None:
    """Where the file ends, if it is the beginning of a longer one. A length that is only stated may be that of another
    stream, which goes on after the video."""
    end = timeline(index.num_frames, index.fps or SUPPOSED_FPS, index.seconds, index.last).end
    if not asked.cut:
        enough = (asked.seconds or 0.0) - 2 / (index.fps or SUPPOSED_FPS)
        if end >= enough or _end_of_all(path) >= enough:
            return None
    total = max(found.duration, asked.seconds or 0.0)
    rest = f" of {total:.2f} s" if total > end + 1 / SUPPOSED_FPS else ", and the rest is missing"
    return f"it is cut off: its frames end at {end:.2f} s{rest}"


def _end_of_all(path: Path) -> float:
    """Seconds of the streams' clock until which there is picture or sound."""
    with opened(path) as (container, _):
        ends = [
            float((packet.pts + (packet.duration or 0)) * packet.time_base)
            for packet in container.demux()
            if packet.pts is not None
        ]
    return max(ends, default=0.0)


_of_short_file = lru_cache(maxsize=8192)(_packet_index)
_of_long_file = lru_cache(maxsize=4)(_packet_index)


def _in_order(stored: np.ndarray, keys: np.ndarray) -> bool:
    """Whether all that is stored before a key frame is shown before it, and the rest after it."""
    before = np.maximum.accumulate(stored)
    after = np.minimum.accumulate(stored[::-1])[::-1]
    return bool(keys[0] and np.all(before[keys] == stored[keys]) and np.all(after[keys] == stored[keys]))
