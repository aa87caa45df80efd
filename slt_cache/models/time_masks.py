"""Masks over time, for training: whole spans of steps are hidden (SpecAugment: Park et al. 2019, 2)."""

from dataclasses import dataclass

import torch

from slt_cache.device import moved

LARGEST_SHARE = 5
"""A span covers at most one in this many steps of its clip (the p = 0.2 of SpecAugment)."""


@dataclass(frozen=True)
class TimeMasks:
    count: int
    """Spans per clip."""
    width: int
    """Most steps of a span."""

    def apply(self, features: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Zeroes random spans of features [B, N, C] of these lengths [B]. The number of steps of a span is uniform from
        0 to `width`, or to a fifth of the clip if that is less."""
        lengths = moved(lengths, features.device)
        steps = torch.arange(features.shape[1], device=features.device)
        most = (lengths // LARGEST_SHARE).clamp(max=self.width)
        hidden = torch.zeros(features.shape[:2], dtype=torch.bool, device=features.device)
        for _ in range(self.count):
            width, start = torch.rand(2, len(lengths), device=features.device)
            width = (width * (most + 1)).long()
            first = (start * (lengths - width + 1)).long()
            hidden |= (steps >= first.unsqueeze(1)) & (steps < (first + width).unsqueeze(1))
        return features.masked_fill(hidden.unsqueeze(2), 0.0)
