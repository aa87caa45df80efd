"""Packed and padded: clips of different length one after another `[sum N, C]`, or side by side `[B, N, C]`."""

import torch


def pad(packed: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """[sum N, C] -> [B, N, C], zeros where the step mask [B, N] is False: behind the end of each clip."""
    places = mask.flatten().nonzero().squeeze(1)  # one gather backwards, where pad_sequence makes a slice a clip
    zeros = packed.new_zeros(mask.numel(), *packed.shape[1:])
    return torch.unflatten(zeros.index_copy_(0, places, packed), 0, mask.shape)


def padded(features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """[B, N, C], as wide as the mask, of what is packed, or is padded already."""
    return features[:, : mask.shape[1]] if features.dim() == 3 else pad(features, mask)


def step_mask(lengths: torch.Tensor) -> torch.Tensor:
    """[B] -> bool [B, N], True on the steps that a clip has."""
    return torch.arange(int(lengths.max()), device=lengths.device) < lengths.unsqueeze(1)
