"""Conversion between packed `[sum N, C]` and padded `[B, N, C]` clips of different lengths."""

import torch


def pad(packed: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Pads packed features [sum N, C] to [B, N, C], with zeros where the step mask [B, N] is False."""
    places = mask.flatten().nonzero().squeeze(1)  # one gather in the backward pass; pad_sequence needs a slice per clip
    zeros = packed.new_zeros(mask.numel(), *packed.shape[1:])
    return torch.unflatten(zeros.index_copy_(0, places, packed), 0, mask.shape)


def padded(features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Returns packed or padded features as padded ones, [B, N, C], as wide as the mask."""
    return features[:, : mask.shape[1]] if features.dim() == 3 else pad(features, mask)


def step_mask(lengths: torch.Tensor) -> torch.Tensor:
    """Returns the mask of lengths [B], bool [B, N], True on the steps of a clip."""
    return torch.arange(int(lengths.max()), device=lengths.device) < lengths.unsqueeze(1)


def longest(lengths: torch.Tensor) -> torch.Tensor:
    """Returns the length of each clip, int64 [B], from its length or those of its streams, [B] or [B, S]."""
    return lengths if lengths.dim() == 1 else lengths.amax(1)
