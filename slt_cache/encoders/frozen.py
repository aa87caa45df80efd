"""Frozen visual encoder for inference: evaluation mode, batch norm fused into the convolutions, channels-last, no
gradients. Knows no files."""

import math
from collections.abc import Iterable
from copy import deepcopy
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from slt_cache.device import moved
from slt_cache.encoders.windows import Windows
from slt_cache.errors import InputError

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
PIXELS_AT_ONCE = {"cpu": 402_000, "cuda": 12_900_000}
"""Pixels per pass of the backbone, to fit the caches of a CPU or fill a GPU (8 and 257 frames of 224)."""

VANISHED = -math.inf
"""Value of all features of a clip that would be rounded to 0, or to few of their digits."""


class Freezable(Protocol):
    """Encoder that can be frozen: stage 1's, or one that is a network and used as it comes."""

    @property
    def backbone(self) -> nn.Module: ...

    @property
    def temporal(self) -> nn.Module | None:
        """Module after the backbone, which the level frame does not use."""

    @property
    def mean(self) -> torch.Tensor:
        """Mean of each colour channel, [1, 3, 1, 1], 0..1."""

    @property
    def std(self) -> torch.Tensor: ...

    @property
    def window(self) -> int: ...

    @property
    def stride(self) -> int: ...

    @property
    def fusable(self) -> bool:
        """Whether batch norms are fused in a copy; a network that has none to fuse is used itself."""


class FrozenEncoder:
    """Frozen encoder that computes features of one level; a copy, if its batch norms are fused, so that the original
    may be trained further."""

    def __init__(
        self,
        encoder: Freezable,
        *,
        level: str,
        dtype: str,
        device: torch.device,
        precision: str = "fp32",
        batch_frames: int | None = None,
        translator: nn.Module | None = None,
        size: int | None = None,
    ):
        """Freezes the encoder. `dtype` is that of the features, `precision` that of the backbone, `batch_frames` the
        frames per pass, None for a number that suits the device. `translator` is the `SignTranslator` that gives the
        hidden states of level "hidden"; other levels need none. `size` is the frame size in pixels of training: if
        given, calls accept no other."""
        if level == "hidden" and translator is None:
            raise ValueError("features of level 'hidden' need a translator")
        self.level = level
        self.dtype: torch.dtype = getattr(torch, dtype)
        self.device = device
        self.batch_frames = batch_frames
        self.size = size
        self.window, self.stride = encoder.window, encoder.stride
        self._computed = PRECISIONS[precision]
        backbone = (fused(encoder.backbone) if encoder.fusable else encoder.backbone.eval()).to(device, self._computed)
        self._backbone = backbone.to(memory_format=torch.channels_last) if encoder.fusable else backbone
        self._temporal = None if encoder.temporal is None else deepcopy(encoder.temporal).eval().to(device)
        self._translator: Any = deepcopy(translator).eval().to(device) if translator and level == "hidden" else None
        self._scale = (1 / (255 * encoder.std)).to(device)
        self._shift = (-encoder.mean / encoder.std).to(device)
        self._maps: tuple[torch.Tensor, torch.Tensor] | None = None

    def __call__(self, frames: np.ndarray | torch.Tensor) -> torch.Tensor:
        """Encodes one whole clip: kept frames, RGB, uint8 [T', 3, S, S], to features of the level, [N, C], N = T' or
        the number of windows, rounded, on the CPU. Raises InputError for frames of another type or shape."""
        clip = torch.from_numpy(frames.copy()) if isinstance(frames, np.ndarray) else frames
        if clip.dtype != torch.uint8 or clip.ndim != 4 or not len(clip) or tuple(clip.shape[1:]) != self._shape(clip):
            size = self.size or "S"
            raise InputError(
                f"frames are {clip.dtype} {list(clip.shape)}, expected torch.uint8 [T', 3, {size}, {size}] with "
                "T' >= 1."
            )
        windows = Windows(self.window, self.stride)
        read = torch.cat([part for part in (windows.add(clip), windows.end()) if part is not None])
        passes = [self.frame_features(part) for part in read.split(self.frames_at_once(clip.shape[-1]))]
        return self.clip_features(torch.cat(passes)).cpu()

    def _shape(self, clip: torch.Tensor) -> tuple[int, int, int]:
        """Returns the shape required of each frame of the clip."""
        size = self.size or clip.shape[-1]
        return 3, size, size

    def frames_at_once(self, size: int) -> int:
        """Returns the number of frames of `size` x `size` pixels, or windows of them, per pass of the backbone."""
        pixels = PIXELS_AT_ONCE.get(self.device.type, PIXELS_AT_ONCE["cpu"])
        frames = self.batch_frames or min(512, max(1, pixels // size**2))
        return max(1, frames // self.window)

    @torch.inference_mode()
    def frame_features(self, frames: torch.Tensor) -> torch.Tensor:
        """Computes frame-wise features, float32 [n, backbone's dim], of frames, uint8 [n, 3, S, S], or those of
        windows, [n, window, 3, S, S]."""
        flat = frames.flatten(0, -4)
        scale, shift = self._normalization(flat)
        images = moved(flat, self.device).to(torch.float32, memory_format=torch.channels_last)
        images = images.mul_(scale).add_(shift).to(self._computed).view(frames.shape)
        features: torch.Tensor = self._backbone(images)
        return features.float()

    def _normalization(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns scale and shift of every pixel, much faster than broadcasting three numbers over a channels-last
        batch."""
        if self._maps is None or self._maps[0].shape[1:] != frames.shape[1:]:
            shape = (1, *frames.shape[1:])
            scale, shift = (
                value.expand(shape).contiguous(memory_format=torch.channels_last)
                for value in (self._scale, self._shift)
            )
            self._maps = scale, shift
        return self._maps

    @torch.inference_mode()
    def clip_features(self, frame_features: torch.Tensor) -> torch.Tensor:
        """Computes the level's features of one whole clip, [N, C], rounded, from frame-wise ones, [N, backbone's
        dim]. All are -inf (VANISHED) if none of them, unless all are 0, is a normal number of the type that they are
        rounded to."""
        features, lengths = frame_features, torch.tensor([len(frame_features)])  # on the CPU
        if self.level in ("sign", "hidden"):
            assert self._temporal is not None
            features = self._temporal(features, lengths)
        if self._translator is not None:
            features = self._translator.hidden(features, lengths)
        largest = features.abs().amax()
        is_lost = (largest > 0) & (largest < torch.finfo(self.dtype).smallest_normal)  # stays on the device
        return features.to(self.dtype).masked_fill(is_lost, VANISHED)

    def black_features(self, steps: Iterable[int], size: int) -> dict[int, torch.Tensor]:
        """Computes the level's features, [N, C], on the CPU, of clips of N black frames of `size` x `size` pixels, for
        each of some N. Not for an encoder of windows."""
        frame = self.frame_features(torch.zeros(1, 3, size, size, dtype=torch.uint8))  # [1, backbone's dim]
        return {count: self.clip_features(frame.expand(count, -1)).cpu() for count in steps}


def fused(backbone: nn.Module) -> nn.Module:
    """Returns a copy of a network in evaluation mode, with each batch norm fused into the preceding convolution."""
    backbone = deepcopy(backbone).eval()
    for module in list(backbone.modules()):
        names = list(dict(module.named_children()))
        for name in names:
            norm = _norm_after(module, name)
            conv = getattr(module, name)
            if norm is not None and isinstance(conv, nn.Conv2d):
                setattr(module, name, fuse_conv_bn_eval(conv, getattr(module, norm)))
                setattr(module, norm, nn.Identity())
    return backbone


def _norm_after(module: nn.Module, name: str) -> str | None:
    """Returns the name of the batch norm after a convolution: the next module of a Sequential, else bn1 for conv1, as
    in torchvision's residual blocks."""
    if isinstance(module, nn.Sequential):
        norm = str(int(name) + 1) if name.isdigit() else ""
    else:
        norm = name.replace("conv", "bn") if name.startswith("conv") else ""
    return norm if isinstance(getattr(module, norm, None), nn.BatchNorm2d) else None
