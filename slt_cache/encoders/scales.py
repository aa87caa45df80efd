"""Several scales of a frame in place of one (S2: Shi et al. 2024, as SpaMo applies it to CLIP): at scale s a network
sees the frame as s x s tiles of its own size, whose features are averaged; those of all scales are concatenated."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from slt_cache.config import EncoderConfig, VideoConfig


class AtScales(nn.Module):
    """Network applied at several scales: frames [..., 3, S, S], S divisible by each scale, to [n, scales * C]."""

    def __init__(self, network: nn.Module, scales: tuple[int, ...]):
        super().__init__()
        self.network, self.scales = network, scales

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        size = frames.shape[-1] // max(self.scales)
        found = [self._features(frames, scale, size) for scale in self.scales]
        return torch.cat(found, dim=-1)

    def _features(self, frames: torch.Tensor, scale: int, size: int) -> torch.Tensor:
        """Computes the features [n, C] at one scale, whose tiles have `size` x `size` pixels."""
        side = scale * size
        if side != frames.shape[-1]:
            flat = F.interpolate(frames.flatten(0, -4), (side, side), mode="bilinear", antialias=True)
            frames = flat.view(*frames.shape[:-2], side, side)
        tiles = frames.unfold(-2, size, size).unfold(-2, size, size)  # [..., 3, scale, scale, size, size]
        tiles = tiles.flatten(-4, -3).movedim(-3, 0)  # [tiles, ..., 3, size, size]
        features: torch.Tensor = self.network(tiles.flatten(0, 1))
        return features.view(scale**2, -1, features.shape[-1]).mean(0)


def at_scales(
    network: nn.Module, dim: int, video: VideoConfig, config: EncoderConfig
) -> tuple[nn.Module, int, VideoConfig, dict[str, Any]]:
    """Returns a network of `dim` channels at the scales of the settings, with its channels, the settings with which
    its frames are read (at the largest scale), and the options of the spec. `video` is that of scale 1."""
    scales = config.scales
    if scales == (1,):
        return network, dim, video, {}
    read = video.of_size(video.size * max(scales))
    return AtScales(network, scales), dim * len(scales), read, {"scales": list(scales)}
