"""Reads the kept frames of a folder of images in natural order. Resizes nothing."""

import os
import re
import stat
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from slt_cache.corpora.base import Clip
from slt_cache.corpora.media import frame_files
from slt_cache.video.stream import FREE_MEMORY, MOST_CHARACTERS, VideoError, in_chunks

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("PNG", "JPEG", "BMP", "WEBP")
"""Formats that Pillow may recognize, whatever the name of the file."""
PNG_END = bytes.fromhex("0000000049454e44ae426082")
JPEG_END = b"\xff\xd9"
TAIL = 64
"""Bytes at the end of a file that are searched for its end marker; some writers append a few more after it."""


def list_images(clip: Clip, fps: float) -> list[Path]:
    """Lists the frames of a folder in natural order. Raises VideoError if there are none, or if the clip or the
    settings need a frame rate, which a folder does not have."""
    if clip.start is not None or clip.end is not None:
        raise VideoError("start and end cannot cut a folder of frames; it has no frame rate")
    if fps:
        # Using it unchanged would silently mix rates in a corpus.
        reason = f"video.fps {fps:g} cannot resample a folder of frames; it has no frame rate. Set video.fps=0"
        raise VideoError(reason)
    try:
        names = sorted(frame_files(clip.video), key=_natural)
    except OSError as error:
        raise VideoError(f"the folder cannot be read ({error.strerror})") from error
    if not names:
        raise VideoError("the folder holds no png or jpg frames")
    return names


def ends_as_it_should(path: Path) -> bool:
    """Returns whether an image ends with the end marker of its format, or has the size that it states. False does not
    mean that it is broken: decoding shows that. Raises OSError."""
    with path.open("rb") as file:
        head, size = file.read(12), os.fstat(file.fileno()).st_size
        if head[:2] == b"BM":
            return int.from_bytes(head[2:6], "little") <= size
        if head[:4] == b"RIFF":
            return int.from_bytes(head[4:8], "little") + 8 <= size
        file.seek(max(0, size - TAIL))
        tail = file.read(TAIL)
    return tail.endswith(PNG_END) if head[:4] == b"\x89PNG" else head[:2] == b"\xff\xd8" and JPEG_END in tail


def read_images(names: Sequence[Path], first: Path) -> Iterator[np.ndarray]:
    """Returns the images in chunks, uint8 [n, H, W, 3], scaled to the size of `first`, the first frame of the folder.
    Raises VideoError."""
    return in_chunks(_frames(names, first))


def _frames(names: Sequence[Path], first: Path) -> Iterator[np.ndarray]:
    size: tuple[int, int] | None = None
    for name in names:
        with _opened(name) as image:
            if size is None:
                size = image.size if name == first else _size(first) or image.size
            frame = np.asarray(_scaled(_eight_bits(image).convert("RGB"), size))
        yield frame


def _size(path: Path) -> tuple[int, int] | None:
    """Returns width and height; None if the image is broken, which matters only if it is kept."""
    try:
        with _opened(path) as image:
            return image.size
    except VideoError:
        return None


@contextmanager
def _opened(path: Path) -> Iterator["Image.Image"]:
    """Yields an image; whatever Pillow raises becomes VideoError. Alpha is dropped and colours are used as they are
    stored: a video has no alpha, and any background would be an invention. Formats other than FORMATS are not tried, as
    Pillow starts Ghostscript for some."""
    from PIL import Image, UnidentifiedImageError

    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise VideoError(f"frame {path.name} is not a file")
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                yield image
    except VideoError:
        raise
    except MemoryError as error:
        reason = f"there is not enough memory for frame {path.name}"
        raise VideoError(reason, FREE_MEMORY) from error
    except UnidentifiedImageError as error:
        reason = f"frame {path.name} is broken (no {', '.join(FORMATS)} picture)"
        raise VideoError(reason) from error
    except Exception as error:  # Pillow's errors have no common base class
        reason = f"frame {path.name} is broken ({' '.join(str(error).split())[:MOST_CHARACTERS]})"
        raise VideoError(reason) from error


def _scaled(image: "Image.Image", size: tuple[int, int]) -> "Image.Image":
    return image if image.size == size else image.resize(size)


def _eight_bits(image: "Image.Image") -> "Image.Image":
    """Scales 16-bit grey to 8 bits; Pillow itself would turn every value above 255 white."""
    return image.point(lambda shade: shade / 257).convert("L") if image.mode.startswith("I") else image


def _natural(path: Path) -> list[tuple[int, str]]:
    """Returns a sort key that puts images2 before images10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name)]
