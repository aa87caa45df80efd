"""A clip as the encoder is given it -> its frames for a picture."""

from collections.abc import Iterable

import numpy as np
import torch

from slt_cache.video.chunks import Event
from slt_cache.video.stream import UnreadableVideo


def seen_frames(events: Iterable[Event]) -> np.ndarray:
    """Events of one clip -> uint8 [T', S, S, 3], the kept frames, cropped and resized. Raises UnreadableVideo."""
    pieces: list[np.ndarray] = []
    for event in events:
        if isinstance(event, UnreadableVideo):
            raise event
        if isinstance(event, torch.Tensor):
            pieces.append(event.permute(0, 2, 3, 1).numpy().copy())  # the piece is written over by the next one
    return np.concatenate(pieces)
