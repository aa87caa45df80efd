"""Collects the frames of a clip as the encoder sees them, for a picture."""

from collections.abc import Iterable

import numpy as np
import torch

from slt_cache.video.chunks import Event
from slt_cache.video.stream import UnreadableVideo


def seen_frames(events: Iterable[Event]) -> np.ndarray:
    """Returns the kept frames of one clip, cropped and resized, uint8 [T', S, S, 3]. Raises UnreadableVideo."""
    chunks: list[np.ndarray] = []
    for event in events:
        if isinstance(event, UnreadableVideo):
            raise event
        if isinstance(event, torch.Tensor):
            chunks.append(event.permute(0, 2, 3, 1).numpy().copy())  # the next chunk overwrites this one
    return np.concatenate(chunks)
