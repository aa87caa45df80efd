"""Decodes kept frames of a video file or of a segment of it: by the library that `video.decoder` names (`decoders.py`),
or by PyAV if that would give wrong frames or is not installed. Resizes nothing.

Every reader is opened for one clip, read once in ascending order and closed: decord leaks if many readers stay open."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from slt_cache.video.decoders import DECODERS
from slt_cache.video.packets import PacketIndex, opened, packet_index
from slt_cache.video.stream import CUT_OFF, GET_WHOLE, FramesAt, VideoError, frames_per_chunk, in_chunks
from slt_cache.video.timeline import Timeline, timeline
from slt_cache.video.whole import stated


class VideoFile:
    """A video file, opened for reading once. Raises VideoError."""

    def __init__(self, path: Path, decoder: str = "auto"):
        """Opens a file for the library that `video.decoder` names, which has been checked."""
        self.path = path
        self._packets = _packets(path)
        self._frames_at = DECODERS[decoder].open(path, self._packets)
        found = _timeline(self._packets)
        if found is None:
            raise VideoError("it states no frame rate")
        self.timeline: Timeline = found

    @property
    def notes(self) -> tuple[str, ...]:
        """Warnings about a video that can be read."""
        return self._packets.notes

    def read(self, indices: Sequence[int]) -> Iterator[np.ndarray]:
        """Yields the frames of these ascending indices in chunks, uint8 [n, H, W, 3]. Repeated frames are decoded
        once."""
        frames_at, self._frames_at = self._frames_at, None
        if frames_at is not None:
            return _by_index(frames_at, indices)
        return in_chunks(_by_pyav(self.path, self._packets, indices))


def video_timeline(path: Path) -> Timeline | None:
    """Returns the times of a video's frames from its packets, without decoding; None if the file states no frame rate.
    Raises VideoError."""
    return _timeline(_packets(path))


def _timeline(packets: PacketIndex) -> Timeline | None:
    fps, seconds = packets.fps, packets.seconds
    if fps == 0 and seconds is not None and len(seconds) > 1:
        fps = (len(seconds) - 1) / float(seconds[-1] - seconds[0])
    return timeline(packets.num_frames, fps, seconds, packets.last) if fps else None


def _packets(path: Path) -> PacketIndex:
    from av.error import FFmpegError

    try:
        packets = packet_index(path)
    except (FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        if _is_incomplete(path):
            cut = f"it is cut off, and the rest cannot be read ({reason})"
            raise VideoError(cut, GET_WHOLE) from error
        raise VideoError(f"it cannot be read ({reason})") from error
    if packets.cut_off is not None:
        raise VideoError(packets.cut_off, GET_WHOLE)
    if packets.num_frames == 0:
        raise VideoError("the video has no frames")
    return packets


def _by_index(frames_at: FramesAt, indices: Sequence[int]) -> Iterator[np.ndarray]:
    count = 1
    while indices:
        requested = np.asarray(indices[:count])
        distinct, inverse = np.unique(requested, return_inverse=True)
        frames = frames_at(distinct.tolist())
        yield frames if len(distinct) == len(requested) else frames[inverse]
        indices = indices[count:]
        count = frames_per_chunk(frames[0])


def _by_pyav(path: Path, packets: PacketIndex, indices: Sequence[int]) -> Iterator[np.ndarray]:
    """Yields frames [H, W, 3], upright, decoding from the last key frame before the first of them. A frame without its
    own time stamp may come a few places away from where it was expected; then the next one replaces it."""
    from av.error import FFmpegError
    from av.video.reformatter import VideoReformatter

    converter, (height, width) = VideoReformatter(), packets.size
    shown = _pictures(path, packets, indices[0])
    exact = packets.own is None or bool(packets.own.all())
    number = -1
    picture: Any = None
    try:
        for index, same in groupby(indices):
            while number < index:
                number, picture = next(shown)
            if number > index and exact:
                raise VideoError(f"its frame {index} cannot be decoded")
            frame = packets.orientation.apply(converter.reformat(picture, width, height, "rgb24").to_ndarray())
            for _ in same:
                yield frame
    except (FFmpegError, ValueError, StopIteration) as error:
        raise VideoError(CUT_OFF) from error
    finally:
        shown.close()


def _pictures(path: Path, packets: PacketIndex, first: int) -> Generator[tuple[int, Any], None, None]:
    """Yields PyAV's frames with their indices, starting at a key frame at or before `first`."""
    key = None
    if packets.pts is not None:
        key = int(packets.key_pts[np.searchsorted(packets.key_pts, packets.pts[first], side="right") - 1])
    for seek in (True, False):
        with opened(path) as (container, stream):
            if key is not None and seek:
                container.seek(key, stream=stream)
            last = -1
            for packet in _from_key(container.demux(stream), key, packets.key_pts):
                for picture in packet.decode():
                    number = last + 1 if key is None else _number(packets, picture.pts, key, last)
                    if number is not None:
                        yield number, picture
                        last = number
            if last >= 0:
                return


def _number(packets: PacketIndex, pts: int | None, key: int, last: int) -> int | None:
    """Returns the index of a decoded picture that follows number `last`; None if it is not shown. Frames shown before a
    key frame but stored after it need frames that were not decoded."""
    assert packets.pts is not None and packets.own is not None
    number = len(packets.pts) if pts is None else int(np.searchsorted(packets.pts, pts))
    if number < len(packets.pts) and packets.own[number] and packets.pts[number] == pts:
        return None if pts is not None and pts < key else number
    return None if last < 0 or packets.own.all() else last + 1  # frames come in the order in which they are shown


def _from_key(packets: Iterable[Any], key: int | None, keys: np.ndarray) -> Iterator[Any]:
    """Yields the packets from this key frame on; none if seeking went past it. `keys` are the stamps of key frames that
    can be relied on, in ascending order."""
    found = key is None
    for packet in packets:
        if not found and packet.is_keyframe and packet.pts is not None and packet.pts >= key:
            found = packet.pts == key
            if not found and keys[np.searchsorted(keys, packet.pts, side="right") - 1] == packet.pts:
                return
        if found:
            yield packet


def _is_incomplete(path: Path) -> bool:
    try:
        return stated(path).incomplete
    except OSError:
        return False
