"""Frames of any size in, the square uint8 `[T', 3, S, S]` that the encoder sees out. Normalizes nothing.

The same random choice holds for all frames of a clip: an augmentation that jitters from frame to frame would
look like movement."""

import numpy as np
import torch
from torchvision.transforms.v2 import functional as F

from slt_cache.config import AugmentationConfig, VideoConfig


def square(frames: np.ndarray, video: VideoConfig) -> torch.Tensor:
    """uint8 [T', H, W, 3] -> uint8 [T', 3, R, R] with R = video.resize, antialiased."""
    images = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)
    if video.fit == "crop":
        images = F.center_crop(images, [min(images.shape[-2:])] * 2)
    resized = F.resize(images, [video.resize, video.resize], antialias=True)
    return torch.zeros_like(resized) if video.blank else resized


def centre_crop(images: torch.Tensor, size: int) -> torch.Tensor:
    """[T', 3, R, R] -> [T', 3, S, S]"""
    return F.center_crop(images, [size, size])


def augment(
    images: torch.Tensor, size: int, augmentation: AugmentationConfig, random: np.random.Generator
) -> torch.Tensor:
    """[T', 3, R, R] -> [T', 3, S, S], randomly cropped, shifted, flipped and lit (method.md, stage 1)."""
    spare = images.shape[-1] - size
    top, left = random.integers(0, spare + 1, size=2) if augmentation.crop else (spare // 2, spare // 2)
    shift = round(random.uniform(-1.0, 1.0) * augmentation.shift * size)
    flip = random.random() < augmentation.flip
    light = 1.0 + random.uniform(-1.0, 1.0) * augmentation.brightness
    images = images[..., top : top + size, left : left + size]
    if shift:
        columns = torch.arange(size).add(shift).clamp(0, size - 1)
        images = images[..., columns]
    if flip:
        images = images.flip(-1)
    if augmentation.brightness:
        images = images.float().mul(light).clamp(0, 255).to(torch.uint8)
    return images
