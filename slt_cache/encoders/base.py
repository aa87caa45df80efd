"""Interface of visual encoders. Extraction, translation and checks need nothing else, so that stage 1's encoder and
those that are used as they come share all of their code. Knows no videos, caches or runs.

`Encoder` describes the features and their making; `Frozen`, which it returns, computes them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import torch
from torch import nn

from slt_cache.config import AugmentationConfig, FeaturesConfig, VideoConfig
from slt_cache.encoders.frozen import FrozenEncoder
from slt_cache.errors import InputError
from slt_cache.features.spec import IMPORTED, FeatureSpec


class UnreachableWeights(InputError):
    """Error of an encoder whose weights are neither on this machine nor can be downloaded."""

    own: ClassVar[tuple[str, ...]] = ("resize", "crop", "mean", "std", "level")
    """Fields of the spec that the encoder decides on, and not the settings alone."""


class Frozen(Protocol):
    """Frozen encoder on a device. Events of a reader are packed over clips and passed through `frame_features`, those
    of a whole clip through `clip_features` (decoding/encode.py)."""

    @property
    def device(self) -> torch.device: ...

    @property
    def window(self) -> int:
        """Frames that each time step sees; 1 for single frames."""

    @property
    def stride(self) -> int:
        """Frames between the starts of two windows."""

    def frames_at_once(self, size: int) -> int:
        """Returns the number of frames, or windows, per pass, for frames of `size` x `size` pixels."""

    def frame_features(self, frames: torch.Tensor) -> torch.Tensor:
        """Computes features [n, C] of what the reader gives: frames, uint8 [n, 3, S, S], or windows of them,
        [n, window, 3, S, S]."""

    def clip_features(self, frame_features: torch.Tensor) -> torch.Tensor:
        """Computes the features of one whole clip, [N, C], rounded, from those of its frames."""


class Encoder(Protocol):
    """Visual encoder as the pipeline sees it."""

    @property
    def video(self) -> VideoConfig:
        """Settings with which its frames are read."""

    @property
    def licence(self) -> str:
        """Licence of code and weights, in one line."""

    @property
    def made_at(self) -> str:
        """Time when its training finished, ISO 8601; empty if unknown."""

    def spec(self, features: FeaturesConfig, augmentation: AugmentationConfig) -> FeatureSpec:
        """Returns the spec of its features with these settings. Raises InputError for features that it cannot make."""

    def frozen(
        self, spec: FeatureSpec, device: torch.device, precision: str, batch_frames: int | None, size: int | None = None
    ) -> Frozen:
        """Returns the encoder for features of this spec, in this precision. `batch_frames` are frames per pass, None
        for a number that suits the device; `size` is the only frame size to accept, in pixels, None for any."""


def require_made(features: FeaturesConfig) -> None:
    """Raises InputError for imported features, which no encoder makes."""
    if features.level == IMPORTED:
        raise InputError(
            "features.level imported: made elsewhere, not by an encoder. Set features.level to sign, frame or hidden."
        )


def spec_settings(video: VideoConfig, features: FeaturesConfig, augmentation: AugmentationConfig) -> dict[str, Any]:
    """Returns the fields of a spec that need no encoder."""
    augmented = features.views > 1
    return {
        "level": features.level,
        "dtype": features.dtype,
        "precision": features.precision,
        "fps": video.fps or None,
        "keep_rate": video.keep_rate,
        "resize": video.resize,
        "crop": video.size,
        "fit": video.fit,
        "blank": video.blank,
        "mean": video.mean,
        "std": video.std,
        "decoder": "decord",
        "views": features.views,
        "view_seed": features.view_seed if augmented else None,
        "augmentation": augmentation.recorded() if augmented else None,
    }


@dataclass(frozen=True)
class NamedEncoder(ABC):
    """Encoder that is used as it comes (`encoder.name`), an `Encoder`; one kind a file, listed in registry.py."""

    name: str
    """Name for specs and messages, without the folders of a path."""
    dim: int
    """C, feature channels."""
    sha256: str
    """SHA-256 over everything but `video`, `window`, `stride` and `options` that determines the features."""
    licence: str
    """Licence of code and weights, in one line."""
    video: VideoConfig
    """Settings with which its frames are read: the run's, with the size, mean and standard deviation that it needs."""
    window: int = field(default=1, kw_only=True)
    """Frames that each time step sees; 1 for single frames."""
    stride: int = field(default=1, kw_only=True)
    """Frames between the starts of two windows."""
    options: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    """Further settings that determine the features, as JSON has them."""

    @property
    def made_at(self) -> str:
        return ""

    def spec(self, features: FeaturesConfig, augmentation: AugmentationConfig) -> FeatureSpec:
        """Returns the spec of its features. `features.level` does not count: there is only one level. Raises InputError
        for levels that only stage 1 makes."""
        require_made(features)
        if features.level == "hidden":
            raise InputError(
                f"features.level hidden: encoder {self.name} is used as it comes, without the modules of stage 1. Set "
                "features.level=frame, or encoder.name=null for the encoder of stage 1."
            )
        is_video = self.window > 1
        own = {
            "level": "window" if is_video else "frame",
            "window": self.window if is_video else None,
            "stride": self.stride if is_video else None,
            "options": dict(self.options) or None,
        }
        settings = spec_settings(self.video, features, augmentation) | own
        return FeatureSpec(encoder_sha256=self.sha256, dim=self.dim, encoder=self.name, **settings)

    @abstractmethod
    def frozen(
        self, spec: FeatureSpec, device: torch.device, precision: str, batch_frames: int | None, size: int | None = None
    ) -> Frozen: ...

    @property
    def summary(self) -> str:
        """Line that says what it is."""
        reads = f"windows of {self.window} kept frames every {self.stride}" if self.window > 1 else "single frames"
        return f"encoder {self.name}: {self.dim:,} channels, reads {reads}. Licence: {self.licence}"


@dataclass(frozen=True)
class NetworkEncoder(NamedEncoder):
    """Named encoder that is a network of torch."""

    backbone: nn.Module = field(kw_only=True)
    """Network in evaluation mode: normalized frames [n, 3, S, S], or windows [n, window, 3, S, S], to [n, C]."""
    fusable: bool = field(default=False, kw_only=True)
    """Whether batch norms follow the convolutions whose names they share, so that they can be fused."""

    @property
    def mean(self) -> torch.Tensor:
        return torch.tensor(self.video.mean).view(1, 3, 1, 1)

    @property
    def std(self) -> torch.Tensor:
        return torch.tensor(self.video.std).view(1, 3, 1, 1)

    @property
    def temporal(self) -> None:
        """None: it has no temporal module."""

    def frozen(
        self, spec: FeatureSpec, device: torch.device, precision: str, batch_frames: int | None, size: int | None = None
    ) -> FrozenEncoder:
        return FrozenEncoder(
            self,
            level=spec.level,
            dtype=spec.dtype,
            precision=precision,
            device=device,
            batch_frames=batch_frames,
            size=size,
        )
