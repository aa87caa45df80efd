"""Visual encoder: packed frames in, frame-wise and sign-wise features out (Chen et al. 2024, 4.2).

Frames of all clips of a batch go through the backbone packed, without padding, so a clip's features do not depend on
the lengths of its neighbours. Knows no files."""

import torch
from torch import nn

from slt_cache.encoders.checkpointing import by_blocks, in_chunks
from slt_cache.encoders.registry import find_backbone
from slt_cache.encoders.temporal import LocalTemporalModule


class VisualEncoder(nn.Module):
    """Visual encoder: the backbone on each frame, then the local temporal module."""

    mean: torch.Tensor
    std: torch.Tensor
    window = stride = 1
    fusable = True

    def __init__(self, backbone: str, dim: int, kernel: int, mean: tuple[float, ...], std: tuple[float, ...]):
        """Makes an untrained encoder. `backbone` is a name of the registry, `dim` is C. Raises InputError for an
        unknown name."""
        super().__init__()
        self.kind = find_backbone(backbone)
        self.backbone = self.kind.build()
        self.temporal = LocalTemporalModule(self.kind.dim, dim, kernel)
        self.dim = dim
        self.checkpointing = False
        """Whether training checkpoints the activations of the backbone's blocks."""
        self.chunk_frames: int | None = None
        """Frames per pass of the backbone in training, recomputed in the backward pass; None for all."""
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.to(memory_format=torch.channels_last)

    def forward(self, frames: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Computes sign-wise features [sum N, C], N = T', from frames, uint8 [sum T', 3, S, S], and lengths [B]."""
        features: torch.Tensor = self.temporal(self.frame_features(frames), lengths)
        return features

    def frame_features(self, frames: torch.Tensor) -> torch.Tensor:
        """Computes frame-wise features [sum T', backbone's dim] from frames, uint8 [sum T', 3, S, S]."""
        if self.backbone.training and torch.is_grad_enabled():
            if self.chunk_frames is not None:
                return in_chunks(self._whole, self.backbone, frames, self.chunk_frames)
            if self.checkpointing:
                return by_blocks(self.kind.blocks(self.backbone), self._normalized, frames)
        return self._whole(frames)

    def _whole(self, frames: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.backbone(self._normalized(frames))
        return features

    def _normalized(self, frames: torch.Tensor) -> torch.Tensor:
        """Normalizes frames, uint8 [n, 3, S, S], to float [n, 3, S, S], channels-last."""
        images = (frames.to(self.mean.dtype) / 255 - self.mean) / self.std
        return images.contiguous(memory_format=torch.channels_last)
