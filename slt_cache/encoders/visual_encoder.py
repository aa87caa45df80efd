"""The visual encoder: packed frames in, frame-wise and sign-wise features out (Chen et al. 2024, 4.2).

Frames of all clips of a batch go through the backbone one after another, without padding, so a clip's features
do not depend on the lengths of its neighbours. Knows no files."""

import hashlib
from collections.abc import Mapping

import torch
from torch import nn
from torchvision.models import resnet18

from slt_cache.encoders.checkpointing import by_blocks, in_chunks
from slt_cache.encoders.packing import pad, step_mask

BACKBONE_DIM = 512
"""Channels that a ResNet-18 gives for each frame."""


class LocalTemporalModule(nn.Module):
    """Conv1d, BatchNorm, ReLU over time, length kept: frame-wise -> sign-wise features (Chen et al. 2024, 4.2)."""

    def __init__(self, dim_in: int, dim: int, kernel: int):
        super().__init__()
        self.conv = nn.Conv1d(dim_in, dim, kernel, padding=kernel // 2)
        self.norm = nn.BatchNorm1d(dim)

    def forward(self, frame_features: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """[sum N, dim_in], [B] -> [sum N, C]"""
        mask = step_mask(lengths)
        padded = pad(frame_features, mask)  # [B, N, dim_in], zeros as the convolution's own padding has them
        mixed = self.conv(padded.transpose(1, 2)).transpose(1, 2)  # [B, N, C]
        packed = mixed[mask]  # [sum N, C]: padding must not reach the batch statistics
        return torch.relu(self.norm(packed))


class VisualEncoder(nn.Module):
    """ResNet-18 frame by frame, then the local temporal module."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, dim: int, kernel: int, mean: tuple[float, ...], std: tuple[float, ...]):
        super().__init__()
        self.backbone = resnet18(weights=None)
        self.backbone.fc = nn.Identity()
        self.temporal = LocalTemporalModule(BACKBONE_DIM, dim, kernel)
        self.dim = dim
        self.checkpointing = False
        """In training, keep the inputs of the backbone's blocks alone, and compute the rest again when it is due."""
        self.chunk_frames: int | None = None
        """In training, so many frames go through the backbone at once, and again when their gradients are due."""
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.to(memory_format=torch.channels_last)

    def forward(self, frames: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """uint8 [sum T', 3, S, S], [B] -> sign-wise features [sum N, C], where N = T'."""
        return self.temporal(self.frame_features(frames), lengths)

    def frame_features(self, frames: torch.Tensor) -> torch.Tensor:
        """uint8 [sum T', 3, S, S] -> frame-wise features [sum T', 512]"""
        if self.backbone.training and torch.is_grad_enabled():
            if self.chunk_frames is not None:
                return in_chunks(self._whole, self.backbone, frames, self.chunk_frames)
            if self.checkpointing:
                return by_blocks(self.backbone, self._normalized, frames)
        return self._whole(frames)

    def _whole(self, frames: torch.Tensor) -> torch.Tensor:
        return self.backbone(self._normalized(frames))

    def _normalized(self, frames: torch.Tensor) -> torch.Tensor:
        """uint8 [n, 3, S, S] -> float [n, 3, S, S], channels-last"""
        images = (frames.to(self.mean.dtype) / 255 - self.mean) / self.std
        return images.contiguous(memory_format=torch.channels_last)


def tensors_sha256(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes: the same weights hash the same from whatever file they came."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
