"""Kept frames of a video file, or of a cut of it: by decord, and by PyAV where decord would give wrong ones or is not
there (it has packages for x86-64 Linux). Resizes nothing.

Every reader here is opened for one clip, read once in ascending order and closed: decord leaks when many readers stay
open. Both decode by FFmpeg and give the same pixels, but for rounding in rare formats."""

import os
import sys
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from slt_cache.corpora.clips import Clip
from slt_cache.video.packets import PacketIndex, opened, packet_index
from slt_cache.video.stream import UnreadableVideo, frames_a_piece
from slt_cache.video.timeline import Timeline, timeline

CUT_OFF = "its frames cannot be read; it may be cut off"
NO_FRAME_TWICE = 1e-6
"""Share of the frames that decord may repeat where others do not come out of the file; by default it repeats them
without a word."""
LARGE_BOX = b"\0\0\0\1"
"""In place of a box's size, which then stands behind its name in eight bytes."""


class VideoFile:
    """A video file that was opened for one clip. Raises UnreadableVideo."""

    def __init__(self, clip: Clip):
        self.clip = clip
        self._reader, self._packets = _opened(clip)
        packets = self._packets
        fps = packets.fps if self._reader is None else float(self._reader.get_avg_fps())
        if fps == 0 and packets.seconds is not None and len(packets.seconds) > 1:
            fps = (len(packets.seconds) - 1) / float(packets.seconds[-1])
        if fps == 0:
            raise UnreadableVideo(clip.id, clip.video, "it tells no frame rate")
        self.timeline: Timeline = timeline(packets.num_frames, fps, packets.seconds)

    def read(self, indices: Sequence[int]) -> Iterator[np.ndarray]:
        """uint8 [n, H, W, 3] pieces of the frames of these indices, which ascend. One that is asked for several times
        is decoded once."""
        reader, self._reader = self._reader, None
        if reader is not None:
            return _by_decord(self.clip, reader, indices)
        return _in_pieces(_by_pyav(self.clip, self._packets, indices))


def video_timeline(clip: Clip) -> Timeline | None:
    """The frames of a clip's video in time, as its packets tell, without decoding; None where the file tells no frame
    rate. Raises UnreadableVideo."""
    packets = _packets(clip)
    return timeline(packets.num_frames, packets.fps, packets.seconds) if packets.fps else None


def _opened(clip: Clip) -> tuple[Any, PacketIndex]:
    """A decord reader, or None where decord is not there, would give wrong frames or, with an FFmpeg of its own that is
    years old, cannot open what PyAV can (AV1, for one)."""
    packets = _packets(clip)
    if _is_cut_off(clip):
        raise UnreadableVideo(clip.id, clip.video, CUT_OFF)
    if not packets.exact_seeks or find_spec("decord") is None:
        return None, packets
    reader = _decord_reader(clip)
    return (reader if reader is not None and packets.num_frames == len(reader) else None), packets


def _packets(clip: Clip) -> PacketIndex:
    from av.error import FFmpegError

    try:
        packets = packet_index(clip.video)
    except (FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UnreadableVideo(clip.id, clip.video, f"it cannot be read ({reason})") from error
    if packets.num_frames == 0:
        raise UnreadableVideo(clip.id, clip.video, "the video has no frames")
    return packets


def _by_decord(clip: Clip, reader: Any, indices: Sequence[int]) -> Iterator[np.ndarray]:
    import decord
    from decord._ffi.base import DECORDLimitReachedError

    count = 1
    while indices:
        asked = np.asarray(indices[:count])
        once, places = np.unique(asked, return_inverse=True)
        try:
            frames = reader.get_batch(once.tolist()).asnumpy()
        except (decord.DECORDError, DECORDLimitReachedError, RuntimeError) as error:
            raise UnreadableVideo(clip.id, clip.video, CUT_OFF) from error
        yield frames if len(once) == len(asked) else frames[places]
        indices = indices[count:]
        count = frames_a_piece(frames[0])


def _in_pieces(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    piece: list[np.ndarray] = []
    for frame in frames:
        piece.append(frame)
        if len(piece) == frames_a_piece(frame):
            yield np.stack(piece)
            piece = []
    if piece:
        yield np.stack(piece)


def _by_pyav(clip: Clip, packets: PacketIndex, indices: Sequence[int]) -> Iterator[np.ndarray]:
    """Frames [H, W, 3], upright, decoded from the last key frame before the first of them on."""
    from av.error import FFmpegError
    from av.video.reformatter import VideoReformatter

    converter = VideoReformatter()
    shown = _pictures(clip.video, packets, indices[0])
    try:
        for index, same in groupby(indices):
            number, picture = next(found for found in shown if found[0] >= index)
            if number > index:
                raise UnreadableVideo(clip.id, clip.video, f"its frame {index} cannot be decoded")
            frame = packets.orientation.apply(converter.reformat(picture, format="rgb24").to_ndarray())
            for _ in same:
                yield frame
    except (FFmpegError, ValueError, StopIteration) as error:
        raise UnreadableVideo(clip.id, clip.video, CUT_OFF) from error
    finally:
        shown.close()


def _pictures(path: Path, packets: PacketIndex, first: int) -> Generator[tuple[int, Any], None, None]:
    """The frames as PyAV has them, each with its index, from a key frame at or before `first` on."""
    key = None
    if packets.pts is not None:
        key = int(packets.key_pts[np.searchsorted(packets.key_pts, packets.pts[first], side="right") - 1])
    for seek in (True, False):
        with opened(path) as (container, stream):
            if key is not None and seek:
                container.seek(key, stream=stream)
            number = 0
            for packet in _from_key(container.demux(stream), key):
                for picture in packet.decode():
                    if packets.pts is not None:
                        number = int(np.searchsorted(packets.pts, picture.pts))
                        # What comes before a key frame but is stored behind it needs frames that were not decoded.
                        if picture.pts < key or packets.pts[number] != picture.pts:
                            continue
                    yield number, picture
                    number += 1
            if number:
                return


def _from_key(packets: Iterable[Any], key: int | None) -> Iterator[Any]:
    """The packets from this key frame on; none where seeking led past it."""
    found = key is None
    for packet in packets:
        if not found and packet.is_keyframe and packet.pts is not None and packet.pts >= key:
            if packet.pts > key:
                return
            found = True
        if found:
            yield packet


def _is_cut_off(clip: Clip) -> bool:
    """Whether a file of the mp4 family ends before its box of frames does. FFmpeg reads one that ends between two
    frames as a shorter video."""
    end, place = clip.video.stat().st_size, 0
    with clip.video.open("rb") as file:
        while len(head := file.read(16)) >= 8:
            size = int.from_bytes(head[8:16] if head[:4] == LARGE_BOX else head[:4], "big")
            if size < 8 or (place == 0 and head[4:8] != b"ftyp"):  # 0 is one that goes on to the end of the file
                return False
            place += size
            if head[4:8] == b"mdat" and place > end:
                return True
            file.seek(place)
    return False


def _decord_reader(clip: Clip) -> Any:
    """None where decord cannot open the file. What decord and FFmpeg write to the terminal about it is not shown."""
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    with _no_stderr():
        try:
            path = str(clip.video.absolute())
            return decord.VideoReader(path, ctx=decord.cpu(0), num_threads=1, fault_tol=NO_FRAME_TWICE)
        except (decord.DECORDError, RuntimeError, AssertionError):
            return None


@contextmanager
def _no_stderr() -> Iterator[None]:
    """C libraries write to file descriptor 2."""
    with Path(os.devnull).open("wb") as nowhere:
        sys.stderr.flush()
        terminal = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
