"""Frames of any size in, the square uint8 `[T', 3, S, S]` that the encoder sees out. Normalizes nothing.

The same random choice holds for all frames of a clip: an augmentation that jitters from frame to frame would
look like movement."""

from dataclasses import dataclass

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


@dataclass(frozen=True)
class Augmentation:
    """One random choice for all frames of a clip."""

    top: int
    """Pixels; where the crop begins."""
    left: int
    shift: int
    """Pixels to the left; the edge column is repeated."""
    flip: bool
    light: float
    """Factor on the brightness."""

    def apply(self, images: torch.Tensor, size: int) -> torch.Tensor:
        """uint8 [n, 3, R, R] -> uint8 [n, 3, S, S]"""
        images = images[..., self.top : self.top + size, self.left : self.left + size]
        if self.shift:
            columns = torch.arange(size).add(self.shift).clamp(0, size - 1)
            images = images[..., columns]
        if self.flip:
            images = images.flip(-1)
        if self.light != 1.0:
            images = images.float().mul(self.light).clamp(0, 255).to(torch.uint8)
        return images


def draw_augmentation(
    spare: int, size: int, augmentation: AugmentationConfig, random: np.random.Generator
) -> Augmentation:
    """Draws crop, shift, flip and light (method.md, stage 1); `spare` is R - S in pixels."""
    top, left = random.integers(0, spare + 1, size=2) if augmentation.crop else (spare // 2, spare // 2)
    shift = round(random.uniform(-1.0, 1.0) * augmentation.shift * size)
    flip = random.random() < augmentation.flip
    light = 1.0 + random.uniform(-1.0, 1.0) * augmentation.brightness
    return Augmentation(int(top), int(left), shift, flip, light)


def augment(
    images: torch.Tensor, size: int, augmentation: AugmentationConfig, random: np.random.Generator
) -> torch.Tensor:
    """[T', 3, R, R] -> [T', 3, S, S], randomly cropped, shifted, flipped and lit."""
    return draw_augmentation(images.shape[-1] - size, size, augmentation, random).apply(images, size)
