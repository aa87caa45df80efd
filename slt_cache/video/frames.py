"""Kept frames of a clip: a video file or a folder of frames in, uint8 `[T', H, W, 3]` out. Resizes nothing.

Every reader here is opened for one clip, read once in ascending order and closed: decord leaks when many
readers stay open, and may return wrong frames after seeking back."""

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from slt_cache.corpora.clips import Clip
from slt_cache.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

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
    if clip.video.is_dir():
        return _read_folder(clip, keep_every, phase)
    if clip.video.is_file():
        return _read_file(clip, keep_every, phase)
    raise UnreadableVideo(clip.id, clip.video, "there is no such file or folder")


def _read_file(clip: Clip, keep_every: int, phase: int) -> KeptFrames:
    import decord

    reader = _open(clip)
    first, last = _cut(clip, len(reader), float(reader.get_avg_fps()))
    indices = [first + index for index in kept_indices(last - first, keep_every, phase)]
    try:
        frames = reader.get_batch(indices).asnumpy()
    except (decord.DECORDError, RuntimeError) as error:
        raise UnreadableVideo(clip.id, clip.video, "decord cannot read its frames; it may be cut off") from error
    return KeptFrames(frames, last - first)


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


def _read_folder(clip: Clip, keep_every: int, phase: int) -> KeptFrames:
    from PIL import Image, UnidentifiedImageError

    if clip.start is not None or clip.end is not None:
        raise UnreadableVideo(clip.id, clip.video, "start and end cannot cut a folder of frames; it has no frame rate")
    names = sorted((path for path in clip.video.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES), key=_natural)
    if not names:
        raise UnreadableVideo(clip.id, clip.video, "the folder holds no png or jpg frames")
    frames = []
    for index in kept_indices(len(names), keep_every, phase):
        try:
            with Image.open(names[index]) as image:
                frames.append(np.asarray(_eight_bits(image).convert("RGB")))
        except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise UnreadableVideo(clip.id, clip.video, f"frame {names[index].name} is broken ({error})") from error
    if len({frame.shape for frame in frames}) > 1:
        raise UnreadableVideo(clip.id, clip.video, "its frames differ in size")
    return KeptFrames(np.stack(frames), len(names))


def _eight_bits(image: "Image.Image") -> "Image.Image":
    """Pillow turns every 16-bit grey above 255 white; this keeps the shades."""
    return image.point(lambda shade: shade / 257).convert("L") if image.mode.startswith("I") else image


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sorts images2 before images10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name)]
