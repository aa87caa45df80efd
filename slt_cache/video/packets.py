"""Indexes the packets of a video file: how many frames there are, when each is shown, which can be decoded without
others, and whether the file is complete. Decodes one frame, the first."""

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
"""Containers with an index by which decord finds key frames exactly; in others it seeks approximately."""
CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegvideo,mpegts,mpegtsraw,flv,asf,ogg,mxf,nut,ivf,dv,gif,rm,swf,vob,"
    "wtv,gxf,y4m,yuv4mpegpipe,m4v,h261,h263,h264,hevc,av1,obu,mjpeg,webp_pipe,apng"
)
"""Containers that FFmpeg may recognize: those that hold their video themselves. A playlist (m3u8, mpd, concat) from a
stranger could make it read any file of this machine."""
SHORT = 1_000_000
"""Bytes of a short file, whose index takes only a few kilobytes."""
NARROWEST = 64
"""Pixels. Rows of narrower frames are padded depending on the processor, and decord mistakes the padding for colour
channels."""
ROUNDED = 1e-5
"""Seconds; more than the error of FFmpeg's rounding of the beginning of a file's clock."""
SUPPOSED_FPS = 25.0
"""Frame rate that is assumed to find the end of a file that states none."""
TORN = "it ends in the middle of a packet and states no length; it may be the beginning of a longer video"
REPAIRED_QUIETLY = 1
"""Number of time stamps of a video that may be repaired without a note."""


@dataclass(frozen=True)
class PacketIndex:
    """Frames of a video file, according to its packets."""

    num_frames: int
    """Number of frames that are shown."""
    fps: float
    """Average frame rate that the file states; 0 if it does not."""
    pts: np.ndarray | None
    """Time stamps of decoded frames in units of the stream, int64 [num_frames], ascending; None if unknown."""
    own: np.ndarray | None
    """Whether a time in `pts` identifies a frame, bool [num_frames]; repeated or missing ones are interpolated between
    their neighbours."""
    seconds: np.ndarray | None
    """Seconds of the container's clock, float64 [num_frames], ascending; None if unknown."""
    last: float | None
    """Seconds for which the last frame is shown; None if unknown."""
    key_pts: np.ndarray
    """Time stamps of frames at which decoding can begin, int64, ascending; empty if `pts` is None."""
    orientation: Orientation
    size: tuple[int, int]
    """Height and width of each frame in square pixels, before it is turned. If the resolution changes, all frames are
    scaled to that of the first."""
    notes: tuple[str, ...]
    """Warnings about a video that can be read."""
    cut_off: str | None
    """Message with the end of the file if it is known to be the beginning of a longer video."""
    exact_seeks: bool
    """Whether decord gives each frame as a player shows it. It counts packets as they are stored, and returns wrong
    frames after seeking if frames stored after a key frame are shown before it (an open group of pictures), if a file
    drops some, or if the container has no times."""


def packet_index(path: Path) -> PacketIndex:
    """Reads all packets. Caches the last few files, since many clips may come from one video, and many short ones,
    since training reads each every epoch. Raises ValueError if the file cannot be read."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is not a file")
    cached_index = _of_short_file if status.st_size <= SHORT else _of_long_file
    return cached_index(path, status.st_size, status.st_mtime_ns)


@contextmanager
def opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """Yields PyAV's container and the stream that decord uses, too, decoded by one thread."""
    # Absolute, as FFmpeg mistakes what precedes a colon for a protocol.
    with opened_source(str(path.absolute())) as found:
        yield found


@contextmanager
def opened_source(source: Any, device: str | None = None) -> Iterator[tuple[Any, Any]]:
    """Yields container and stream of a file's name, of a binary file, or of a camera, whose kind `device` is FFmpeg's
    name for."""
    import av

    options = {"format_whitelist": device or CONTAINERS, "protocol_whitelist": "file"}
    try:
        container = av.open(source, format=device, options=options)
    except av.error.ArgumentError as error:  # raised for containers that are not on the list
        raise ValueError("a playlist, or a container that is not supported") from error
    with container:
        stream = container.streams.best("video")
        if stream is None or stream.codec_context is None:
            raise ValueError("it holds no video")
        decoder: Any = stream.codec_context
        if decoder.width * decoder.height > MOST_PIXELS:
            raise ValueError(f"frames of {decoder.width} x {decoder.height} pixels exceed the limit")
        decoder.options = {"max_pixels": str(MOST_PIXELS)}
        decoder.thread_count = 1
        try:
            yield container, stream
        finally:
            decoder.flush_buffers()  # else its frames stay until garbage collection


def _packet_index(path: Path, size: int, changed: int) -> PacketIndex:
    """Indexes a file; `size` and `changed` are keys of the cache, which notice a replaced file."""
    with opened(path) as (container, stream):
        found = head(container, stream)
        try:
            packets = _read(container, stream)
        except IndexError as error:  # PyAV raises it for a packet of an unknown stream
            raise ValueError("its streams are damaged") from error
    return _index(path, found, packets)


@dataclass
class _Packets:
    """Data of each packet with a frame, in the order of storage."""

    pts: list[int | None]
    dts: list[int | None]
    keys: list[bool]
    shown: list[bool]
    last: float = 0.0
    """Seconds for which the last frame is shown; 0 if unknown."""
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
    reordered = found.reordered and packets.pts != packets.dts  # frames that are shown at once are not delayed
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
    # AVI numbers packets in the order of storage; if frames are shown in another order, these are not their times.
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
    """Returns, bool [n], which frames of a recording that begins between two key frames are shown before the first one
    and cannot be decoded. They are stored before it, or directly after it."""
    before = np.zeros(len(stored), bool)
    if keys.any():
        first = int(keys.argmax())
        after = stored[first + 1 :] >= stored[first]
        leading = int(after.argmax()) if after.any() else 0
        end = first + 1 + (leading if leading <= REORDERED else 0)
        before[:end] = stored[:end] < stored[first]
    return before


def _seconds(found: Head, pts: np.ndarray, packets: _Packets, shown: np.ndarray) -> np.ndarray:
    """Returns when each frame is shown, in seconds of the container's clock."""
    times = pts
    if found.is_avi and None not in packets.dts:
        # AVI stores decoding times, which are display times; FFmpeg guesses a delay if there may be B-frames.
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
            f"most time stamps of its {count} frames repeat, are missing or begin again; its frames are assumed to be "
            "evenly spaced, and a segment of it may be the wrong one"
        )
    elif stamps.times is not None and stamps.repaired > REPAIRED_QUIETLY:
        yield (
            f"{stamps.repaired} of the time stamps of its {count} frames repeat, are missing or run backwards; they "
            "are interpolated between their neighbours"
        )


def _cut_off(path: Path, asked: Stated, found: Head, index: PacketIndex) -> str | None:
    """Returns a message with the end of the file if it is the beginning of a longer one. A stated length may be that of
    another stream, which is longer than the video."""
    end = timeline(index.num_frames, index.fps or SUPPOSED_FPS, index.seconds, index.last).end
    if not asked.cut:
        enough = (asked.seconds or 0.0) - 2 / (index.fps or SUPPOSED_FPS)
        if end >= enough or _end_of_all(path) >= enough:
            return None
    total = max(found.duration, asked.seconds or 0.0)
    rest = f" of {total:.2f} s" if total > end + 1 / SUPPOSED_FPS else ", and the rest is missing"
    return f"it is cut off: its frames end at {end:.2f} s{rest}"


def _end_of_all(path: Path) -> float:
    """Returns the second of the streams' clock at which picture and sound have ended."""
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
    """Returns whether frames stored before a key frame are shown before it, and the others after it."""
    before = np.maximum.accumulate(stored)
    after = np.minimum.accumulate(stored[::-1])[::-1]
    return bool(keys[0] and np.all(before[keys] == stored[keys]) and np.all(after[keys] == stored[keys]))
