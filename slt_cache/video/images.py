"""Kept frames of a folder of images in natural order. Resizes nothing."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from slt_cache.corpora.clips import Clip
from slt_cache.video.stream import UnreadableVideo, frames_a_piece

if TYPE_CHECKING:
    from PIL import Image

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp"})


def list_images(clip: Clip, fps: float) -> list[Path]:
    """The frames of a folder in natural order. Raises UnreadableVideo where there are none, or where the clip or the
    settings need a frame rate, which a folder does not have."""
    if clip.start is not None or clip.end is not None:
        raise UnreadableVideo(clip.id, clip.video, "start and end cannot cut a folder of frames; it has no frame rate")
    if fps:
        # Taking it as it is would mix rates in a corpus, and nobody would be told.
        reason = f"video.fps {fps:g} cannot resample a folder of frames; it has no frame rate. Set video.fps=0"
        raise UnreadableVideo(clip.id, clip.video, reason)
    try:
        entries = [
            path for path in clip.video.iterdir() if not path.name.startswith(".")
        ]  # Macs put ._1.png beside 1.png
    except OSError as error:
        raise UnreadableVideo(clip.id, clip.video, f"the folder cannot be read ({error.strerror})") from error
    names = sorted((path for path in entries if path.suffix.lower() in IMAGE_SUFFIXES), key=_natural)
    if not names:
        raise UnreadableVideo(clip.id, clip.video, "the folder holds no png or jpg frames")
    return names


def read_images(clip: Clip, names: Sequence[Path]) -> Iterator[np.ndarray]:
    """uint8 [n, H, W, 3] pieces. Raises UnreadableVideo."""
    piece: list[np.ndarray] = []
    shape: tuple[int, ...] | None = None
    for name in names:
        frame = _read_image(clip, name)
        shape = shape or frame.shape
        if frame.shape != shape:
            raise UnreadableVideo(clip.id, clip.video, "its frames differ in size")
        piece.append(frame)
        if len(piece) == frames_a_piece(frame):
            yield np.stack(piece)
            piece = []
    if piece:
        yield np.stack(piece)


def _read_image(clip: Clip, path: Path) -> np.ndarray:
    """uint8 [H, W, 3]. Alpha is left out and colours stay as they are stored: a video has no alpha either, and any
    background would be an invention."""
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
