"""Draws the kept frames of a clip as a strip, and the attention of its words over its steps as a map. Both are data
URIs that a page aligns vertically: each column is the same time of the clip."""

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from slt_cache.colours import INK
from slt_cache.video.chunks import Event
from slt_cache.video.stream import UnreadableVideo

SIZES = ((144, 60), (112, 55), (88, 50), (64, 40))
"""Heights of a frame in pixels with WebP qualities: the first that is small enough is used, else the last."""
MOST_FRAMES = 10
"""Largest number of frames in a strip, evenly spaced; more would be too small to see."""
EVEN_TIMES = 4
LEVELS = 16
"""Shades of a map: four bits per cell."""


@dataclass(frozen=True)
class Filmstrip:
    """Evenly spaced kept frames of a clip in one picture, never larger than the encoder saw them."""

    image: str
    shown: int
    """Number of frames in the picture; each represents an equal part of the clip."""
    kept: int
    """T', number of kept frames."""


def draw_filmstrip(frames: np.ndarray, most_bytes: int) -> Filmstrip:
    """Draws the middle frame of each of at most MOST_FRAMES equal parts of uint8 [T', H, W, 3]; in `most_bytes` bytes
    if the smallest of SIZES allows it."""
    kept = len(frames)
    shown = min(kept, MOST_FRAMES)
    middles = [Image.fromarray(frames[int((place + 0.5) * kept / shown)]) for place in range(shown)]
    image = ""
    for height, quality in SIZES:
        image = _data_uri(_side_by_side(middles, height), "WEBP", quality=quality, method=6)
        if len(image) <= most_bytes:
            break
    return Filmstrip(image, shown, kept)


def _side_by_side(frames: Sequence[Image.Image], most: int) -> Image.Image:
    """Concatenates frames, scaled to at most `most` pixels of height; the page enlarges smaller ones pixel by pixel."""
    height = min(most, frames[0].height)
    size = (max(round(frames[0].width * height / frames[0].height), 1), height)
    strip = Image.new("RGB", (len(frames) * size[0], height))
    for place, frame in enumerate(frames):
        shown = frame if frame.size == size else frame.resize(size, Image.Resampling.LANCZOS)
        strip.paste(shown, (place * size[0], 0))
    return strip


def draw_weights(weights: np.ndarray) -> str:
    """Draws [words, N] weights with one pixel each, from transparent to full ink at `full_weight`."""
    cells = np.rint(weights / full_weight(weights) * (LEVELS - 1)).astype(np.uint8)
    image = Image.fromarray(cells, "P")
    image.putpalette(INK * LEVELS)
    opacity = bytes(round(255 * level / (LEVELS - 1)) for level in range(LEVELS))
    return _data_uri(image, "PNG", transparency=opacity, bits=4, optimize=True)


def full_weight(weights: np.ndarray) -> float:
    """Returns the weight, 0..1, that a map shows in full colour: the largest one, but at least EVEN_TIMES that of
    uniform attention, so that a model with diffuse attention looks pale."""
    return max(float(weights.max(initial=0.0)), min(float(EVEN_TIMES / weights.shape[1]), 1.0))


def _data_uri(image: Image.Image, form: str, **options: object) -> str:
    file = io.BytesIO()
    image.save(file, form, **options)
    return f"data:image/{form.lower()};base64," + base64.b64encode(file.getvalue()).decode("ascii")


def seen_frames(events: Iterable[Event]) -> np.ndarray:
    """Returns the kept frames of one clip, cropped and resized, uint8 [T', S, S, 3]. Raises UnreadableVideo."""
    chunks: list[np.ndarray] = []
    for event in events:
        if isinstance(event, UnreadableVideo):
            raise event
        if isinstance(event, torch.Tensor):
            chunks.append(event.permute(0, 2, 3, 1).numpy().copy())  # the next chunk overwrites this one
    return np.concatenate(chunks)
