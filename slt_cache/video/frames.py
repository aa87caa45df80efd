"""Kept frames of a clip: a video file or a folder of frames in, uint8 `[T', H, W, 3]` out, piece by piece, so that
memory does not grow with the length of a video. Resizes nothing.

Every reader here is opened for one clip, read once in ascending order and closed: decord leaks when many
readers stay open, and may return wrong frames after seeking back."""

import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from slt_cache.corpora.clips import Clip
from slt_cache.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

PIECE_BYTES = 32_000_000
"""Frames as they come from the file that are held at once."""
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp"})


class UnreadableVideo(InputError):
    """A clip whose frames cannot be had; the message gives the clip and the reason."""

    def __init__(self, clip_id: str, video: Path, reason: str):
        super().__init__(
            f"clip {clip_id!r} ({video}): {reason}. Repair the video, or take the clip out of the manifest."
        )
        self.clip_id = clip_id
        self.video = video
        self.reason = reason

    def __reduce__(self) -> tuple[type["UnreadableVideo"], tuple[str, Path, str]]:
        """Reader processes send it by pickle, which would hand `__init__` the message alone."""
        return type(self), (self.clip_id, self.video, self.reason)


@dataclass(frozen=True)
class FrameStream:
    """The kept frames of one clip, opened and not yet read; to be read once."""

    pieces: Iterator[np.ndarray]
    """uint8 [n, H, W, 3], RGB, in order, at most PIECE_BYTES each unless a single frame is larger. Raises
    UnreadableVideo."""
    num_frames: int
    """T, source frames of the clip before downsampling."""
    fps: float
    """Source frames a second; 0 for a folder of frames, which has no rate."""


@dataclass(frozen=True)
class KeptFrames:
    """What downsampling leaves of one clip."""

    frames: np.ndarray
    """uint8 [T', H, W, 3], RGB."""
    num_frames: int
    """T, source frames of the clip before downsampling."""


def kept_indices(num_frames: int, keep_every: int, phase: int = 0) -> range:
    """Indices `phase, phase + keep_every, ...` below T; with phase 0 there are ceil(T / keep_every).

    A clip shorter than the phase keeps its first frame, so that no clip vanishes."""
    return range(min(phase, num_frames - 1), num_frames, keep_every)


def read_kept_frames(clip: Clip, keep_every: int, phase: int = 0) -> KeptFrames:
    """Reads one frame in `keep_every` of the clip, the first at `phase`. Raises UnreadableVideo."""
    stream = open_frames(clip, keep_every, phase)
    pieces = list(stream.pieces)
    return KeptFrames(pieces[0] if len(pieces) == 1 else np.concatenate(pieces), stream.num_frames)


def open_frames(clip: Clip, keep_every: int, phase: int = 0) -> FrameStream:
    """Opens a clip to read one frame in `keep_every`, the first at `phase`. Raises UnreadableVideo."""
    if clip.video.is_dir():
        return _open_folder(clip, keep_every, phase)
    if clip.video.is_file():
        return _open_file(clip, keep_every, phase)
    raise UnreadableVideo(clip.id, clip.video, "there is no such file or folder")


def _open_file(clip: Clip, keep_every: int, phase: int) -> FrameStream:
    reader = _open(clip)
    fps = float(reader.get_avg_fps())
    first, last = _cut(clip, len(reader), fps)
    indices = [first + index for index in kept_indices(last - first, keep_every, phase)]
    return FrameStream(_read_file(clip, reader, indices), last - first, fps)


def _read_file(clip: Clip, reader: Any, indices: Sequence[int]) -> Iterator[np.ndarray]:
    import decord

    count = 1
    while indices:
        try:
            frames = reader.get_batch(indices[:count]).asnumpy()
        except (decord.DECORDError, RuntimeError) as error:
            raise UnreadableVideo(clip.id, clip.video, "decord cannot read its frames; it may be cut off") from error
        yield frames
        indices = indices[count:]
        count = _frames_a_piece(frames[0])


def _frames_a_piece(frame: np.ndarray) -> int:
    return max(1, PIECE_BYTES // frame.nbytes)


def _open(clip: Clip) -> Any:
    """A decord reader. What decord and ffmpeg write to the terminal about a bad file goes into the error instead."""
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    with _captured_stderr() as messages:
        try:
            return decord.VideoReader(str(clip.video), ctx=decord.cpu(0), num_threads=1)
        except (decord.DECORDError, RuntimeError, AssertionError) as error:
            messages.seek(0)
            last_line = messages.read().decode(errors="replace").strip().rpartition("\n")[2]
            # decord puts the time and the place in its source before what it has to say
            reason = re.sub(
                r"^\[[\d:]+\] \S+: (\[.*?\] )?", "", (last_line.rpartition(", ")[2] or str(error)).rstrip(".")
            )
            raise UnreadableVideo(clip.id, clip.video, f"decord cannot read it ({reason[:120]})") from error


@contextmanager
def _captured_stderr() -> Iterator[IO[bytes]]:
    """Catches what C libraries write to file descriptor 2."""
    with tempfile.TemporaryFile() as messages:
        sys.stderr.flush()
        terminal = os.dup(2)
        os.dup2(messages.fileno(), 2)
        try:
            yield messages
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


def _cut(clip: Clip, available: int, fps: float) -> tuple[int, int]:
    """First frame and the one after the last, of a video that has `available` frames."""
    if available == 0:
        raise UnreadableVideo(clip.id, clip.video, "the video has no frames")
    first = 0 if clip.start is None else round(clip.start * fps)
    last = available if clip.end is None else min(round(clip.end * fps), available)
    if first >= last:
        seconds = available / fps
        raise UnreadableVideo(
            clip.id,
            clip.video,
            f"no frame lies between {clip.start} s and {clip.end} s of its {seconds:.2f} s",
        )
    return first, last


def _open_folder(clip: Clip, keep_every: int, phase: int) -> FrameStream:
    if clip.start is not None or clip.end is not None:
        raise UnreadableVideo(clip.id, clip.video, "start and end cannot cut a folder of frames; it has no frame rate")
    names = sorted((path for path in clip.video.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES), key=_natural)
    if not names:
        raise UnreadableVideo(clip.id, clip.video, "the folder holds no png or jpg frames")
    kept = [names[index] for index in kept_indices(len(names), keep_every, phase)]
    return FrameStream(_read_folder(clip, kept), len(names), 0.0)


def _read_folder(clip: Clip, names: Sequence[Path]) -> Iterator[np.ndarray]:
    piece: list[np.ndarray] = []
    shape: tuple[int, ...] | None = None
    for name in names:
        frame = _read_image(clip, name)
        shape = shape or frame.shape
        if frame.shape != shape:
            raise UnreadableVideo(clip.id, clip.video, "its frames differ in size")
        piece.append(frame)
        if len(piece) == _frames_a_piece(frame):
            yield np.stack(piece)
            piece = []
    if piece:
        yield np.stack(piece)


def _read_image(clip: Clip, path: Path) -> np.ndarray:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return np.asarray(_eight_bits(image).convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnreadableVideo(clip.id, clip.video, f"frame {path.name} is broken ({error})") from error


def _eight_bits(image: "Image.Image") -> "Image.Image":
    """Pillow turns every 16-bit grey above 255 white; this keeps the shades."""
    return image.point(lambda shade: shade / 257).convert("L") if image.mode.startswith("I") else image


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sorts images2 before images10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name)]
