"""Conversion between packed `[sum N, C]` and padded `[B, N, C]` clips of different lengths. Streams of a clip lie side
by side, [N, sum C], where N is that of the longest."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from slt_cache.device import moved

ClipArrays = np.ndarray | tuple[np.ndarray, ...]
"""Features of a clip, [N, C], or of each of its streams."""
ClipTensors = torch.Tensor | tuple[torch.Tensor, ...]
"""The same as tensors."""


def pad(packed: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Pads packed features [sum N, C] to [B, N, C], with zeros where the step mask [B, N] is False. The mask may be on
    the CPU, where finding its steps does not wait for a GPU."""
    # One gather in the backward pass; pad_sequence needs a slice per clip.
    places = moved(mask.flatten().nonzero().squeeze(1), packed.device)
    zeros = packed.new_zeros(mask.numel(), *packed.shape[1:])
    return torch.unflatten(zeros.index_copy_(0, places, packed), 0, mask.shape)


def unpadded(padded: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Returns the steps of padded features [B, N, C] where the mask [B, N] is True, packed: [sum N, C]. The mask may be
    on the CPU, as for `pad`."""
    rows, columns = (moved(places, padded.device) for places in mask.nonzero(as_tuple=True))
    return padded[rows, columns]


def padded(features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Returns packed or padded features as padded ones, [B, N, C], as wide as the mask."""
    return features[:, : mask.shape[1]] if features.dim() == 3 else pad(features, mask)


def step_mask(lengths: torch.Tensor) -> torch.Tensor:
    """Returns the mask of lengths [B], bool [B, N], True on the steps of a clip."""
    return torch.arange(int(lengths.max()), device=lengths.device) < lengths.unsqueeze(1)


def longest(lengths: torch.Tensor) -> torch.Tensor:
    """Returns the length of each clip, int64 [B], from its length or those of its streams, [B] or [B, S]."""
    return lengths if lengths.dim() == 1 else lengths.amax(1)


def lengths_of(clip: ClipArrays | ClipTensors) -> int | list[int]:
    """Returns the length of a clip, or of each of its streams."""
    return [len(stream) for stream in clip] if isinstance(clip, tuple) else len(clip)


def arrays_of(clip: ClipTensors) -> ClipArrays:
    """Returns the features of a clip, on the CPU, as arrays."""
    return tuple(stream.numpy() for stream in clip) if isinstance(clip, tuple) else clip.numpy()


def padded_arrays(clips: Sequence[ClipArrays]) -> np.ndarray:
    """Returns the features of clips, padded with zeros: [B, N, C], or [B, N, sum C] of several streams."""
    streams = [clip if isinstance(clip, tuple) else (clip,) for clip in clips]
    longest = max(len(stream) for clip in streams for stream in clip)
    channels = sum(stream.shape[1] for stream in streams[0])
    # Pads in the one copy out of the file: after a step of the LLM the same takes three times as long.
    padded = np.zeros((len(clips), longest, channels), np.result_type(*(stream.dtype for stream in streams[0])))
    for row, clip in zip(padded, streams, strict=True):
        first = 0
        for stream in clip:
            row[: len(stream), first : first + stream.shape[1]] = stream
            first += stream.shape[1]
    return padded


def packed(clips: Sequence[ClipTensors]) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the features of clips, packed, [sum N, C] or [sum N, sum C], and their lengths, int64 [B] or [B, S]."""
    device = clips[0][0].device
    joined = [_side_by_side(clip) if isinstance(clip, tuple) else clip for clip in clips]
    return torch.cat(joined), torch.tensor([lengths_of(clip) for clip in clips], device=device)


def _side_by_side(streams: Sequence[torch.Tensor]) -> torch.Tensor:
    longest = max(map(len, streams))
    return torch.cat([nn.functional.pad(one, (0, 0, 0, longest - len(one))) for one in streams], 1)
