"""Transforms frames of any size to the square uint8 `[T', 3, S, S]` that the encoder sees. Normalizes nothing.

All frames of a clip share the same random choice: an augmentation that jitters from frame to frame would look like
movement."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from slt_cache.config import AugmentationConfig, VideoConfig

FRAMES_AT_ONCE = 8
"""Frames augmented together. Colours are computed in float: this few fit into the processor's cache, which is two to
three times as fast as 64 at once, and a long clip does not take gigabytes."""


def square(frames: np.ndarray, video: VideoConfig) -> torch.Tensor:
    """Resizes with antialiasing: uint8 [T', H, W, 3] -> uint8 [T', 3, R, R] with R = video.resize."""
    images = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)
    if video.fit == "crop":
        images = F.center_crop(images, [min(images.shape[-2:])] * 2)
    resized = F.resize(images, [video.resize, video.resize], antialias=True)
    return torch.zeros_like(resized) if video.blank else resized


def centre_crop(images: torch.Tensor, size: int) -> torch.Tensor:
    """Crops the centre: [T', 3, R, R] -> [T', 3, S, S]."""
    cropped: torch.Tensor = F.center_crop(images, [size, size])
    return cropped


@dataclass(frozen=True)
class Augmentation:
    """One random choice for all frames of a clip. Frames are changed independently, so a clip in chunks comes out the
    same as in one piece."""

    top: int
    """First row of the crop in pixels."""
    left: int
    shift: int
    """Pixels to the left; the edge column is repeated."""
    flip: bool
    light: float
    """Factor on the brightness."""
    rotation: float
    """Degrees, counter-clockwise."""
    contrast: float
    """Factor on the distance from a frame's mean grey."""
    saturation: float
    """Factor on the distance from a pixel's own grey."""
    hue: float
    """Share of the colour circle."""

    def apply(self, images: torch.Tensor, size: int) -> torch.Tensor:
        """Augments frames: uint8 [n, 3, R, R] -> uint8 [n, 3, S, S]."""
        return torch.cat([self._colour(self._place(few, size)) for few in images.split(FRAMES_AT_ONCE)])

    def _place(self, images: torch.Tensor, size: int) -> torch.Tensor:
        if self.rotation:
            images = rotate(images, self.rotation)
        images = images[..., self.top : self.top + size, self.left : self.left + size]
        if self.shift:
            columns = torch.arange(size).add(self.shift).clamp(0, size - 1)
            images = images.index_select(-1, columns)
        return images.flip(-1) if self.flip else images

    def _colour(self, images: torch.Tensor) -> torch.Tensor:
        if self.light != 1.0:
            images = F.adjust_brightness(images, self.light)
        if self.contrast != 1.0:
            images = adjust_contrast(images, self.contrast)
        if self.saturation != 1.0:
            images = F.adjust_saturation(images, self.saturation)
        if self.hue:
            images = F.adjust_hue(images, self.hue)
        return images


def rotate(images: torch.Tensor, degrees: float) -> torch.Tensor:
    """Rotates uint8 [n, 3, R, R] about the centre. The corners are filled by repeating the edge, as in a shift: black
    ones would show the network by how much the frames were rotated. The crop that follows removes most of them."""
    size, angle = images.shape[-1], math.radians(abs(degrees))
    reach = size / 2 * (math.cos(angle) + math.sin(angle))  # pixels from the centre to the farthest visible row
    margin = math.ceil(reach - size / 2) + 1
    padded = F.pad(images, [margin] * 4, padding_mode="edge")
    rotated = F.rotate(padded, degrees, interpolation=InterpolationMode.BILINEAR)
    cropped: torch.Tensor = F.center_crop(rotated, [size, size])
    return cropped


def adjust_contrast(images: torch.Tensor, factor: float) -> torch.Tensor:
    """Adjusts the contrast of uint8 [n, 3, S, S] like torchvision, but sums in float64: in float32 the sum over a frame
    larger than 256 pixels depends on the number of threads, which differs in a loader's workers."""
    mean = F.rgb_to_grayscale(images).double().mean((-3, -2, -1), keepdim=True).float()  # [n, 1, 1, 1]
    return images.mul(factor).add(mean, alpha=1.0 - factor).clamp(0, 255).to(torch.uint8)


def draw_augmentation(
    spare: int, size: int, augmentation: AugmentationConfig, random: np.random.Generator
) -> Augmentation:
    """Draws crop, shift, flip, rotation and colour (method.md, stage 1); `spare` is R - S in pixels."""
    top, left = random.integers(0, spare + 1, size=2) if augmentation.crop else (spare // 2, spare // 2)
    shift = round(random.uniform(-1.0, 1.0) * augmentation.shift * size)
    flip = random.random() < augmentation.flip
    light = 1.0 + random.uniform(-1.0, 1.0) * augmentation.brightness
    # Drawn whether they are on or off, so that switching one on does not change the others; and drawn last, so that a
    # seed gives the same choices above as before these were added.
    rotation, contrast, saturation, hue = random.uniform(-1.0, 1.0, size=4).tolist()
    return Augmentation(
        top=int(top),
        left=int(left),
        shift=shift,
        flip=flip,
        light=light,
        rotation=rotation * augmentation.rotation,
        contrast=1.0 + contrast * augmentation.contrast,
        saturation=1.0 + saturation * augmentation.saturation,
        hue=hue * augmentation.hue,
    )


def augment(
    images: torch.Tensor, size: int, augmentation: AugmentationConfig, random: np.random.Generator
) -> torch.Tensor:
    """Augments a clip with one random draw: [T', 3, R, R] -> [T', 3, S, S]."""
    return draw_augmentation(images.shape[-1] - size, size, augmentation, random).apply(images, size)
