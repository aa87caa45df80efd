"""Encoders whose features are made where the videos are read, as those of MediaPipe and of other programs: their frames
pass no network here, and what the reader gives is only finished."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch

from slt_cache.config import AugmentationConfig, FeaturesConfig
from slt_cache.encoders.base import NamedEncoder
from slt_cache.errors import InputError
from slt_cache.features.spec import FeatureSpec


@dataclass(frozen=True)
class OwnReader(NamedEncoder):
    """Named encoder with a reader of its own, which pipeline/encoder.py chooses."""

    unused: ClassVar[tuple[str, ...]] = ()
    """Fields of the spec that do not count, as the reader uses no such setting."""

    def spec(self, features: FeaturesConfig, augmentation: AugmentationConfig) -> FeatureSpec:
        """Returns the spec of its features. Raises InputError for augmented views, which it cannot make."""
        if features.views > 1:
            raise InputError(
                f"features.views {features.views}: encoder {self.name} makes no augmented views. Set features.views=1."
            )
        changed: dict[str, Any] = {"precision": "fp32", **dict.fromkeys(self.unused)}
        return replace(super().spec(features, augmentation), **changed)

    def frozen(
        self, spec: FeatureSpec, device: torch.device, precision: str, batch_frames: int | None, size: int | None = None
    ) -> "Finishing":
        return Finishing(self.finished, getattr(torch, spec.dtype))

    def finished(self, features: torch.Tensor) -> torch.Tensor:
        """Returns the features of a clip, float32 [N, C], from what the reader gave of it."""
        return features


@dataclass(frozen=True)
class Finishing:
    """Frozen encoder, a `Frozen`, that only finishes features and rounds them."""

    finished: Callable[[torch.Tensor], torch.Tensor]
    dtype: torch.dtype
    window: int = 1
    stride: int = 1

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def frames_at_once(self, size: int) -> int:
        """Returns 1: nothing is gained by waiting for more."""
        return 1

    def frame_features(self, frames: torch.Tensor) -> torch.Tensor:
        return frames.clone()  # the packer uses its buffer again

    def clip_features(self, frame_features: torch.Tensor) -> torch.Tensor:
        return self.finished(frame_features).to(self.dtype)
