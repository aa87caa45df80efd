"""Settings of stage 1, the visual encoder with Light-T, and of the features that it makes."""

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from slt_cache.config.optimizer import OptimizerConfig
from slt_cache.config.section import PathName, Probability, Section, _without_off


class EncoderConfig(Section):
    backbone: str = "resnet18"
    """Network that sees each frame: a name of the registry (slt_cache/encoders/registry.py), resnet18 in the paper."""
    weights: PathName = "imagenet"
    """Initial weights of the backbone: imagenet, none, or a path to a state dict (.pth or .safetensors)."""
    dim: PositiveInt = 512
    """C, channels of the sign-wise features (left open by the paper)."""
    kernel: Annotated[int, Field(ge=1)] = 5
    """Steps; width of the temporal convolution (left open by the paper)."""
    checkpointing: bool = False
    """Training computes the activations of the backbone's blocks a second time instead of keeping them: the same
    numbers in less memory and more time."""
    chunk_frames: Annotated[int, Field(ge=8)] | None = None
    """Kept frames that go through the backbone at once in training, and again when their gradients are due; null for
    the whole batch. Memory is that of one chunk. Another training than with null: batch norm goes by a chunk's
    statistics. Fewer than 8 frames would make them noise."""

    def recorded(self) -> dict[str, Any]:
        """As training records hold it, but for what changes no numbers; chunks only where they are set, so that what
        was recorded before is still of the same settings."""
        recorded = _without_off(self, {"chunk_frames"})
        del recorded["checkpointing"]
        return recorded

    @model_validator(mode="after")
    def _odd(self) -> "EncoderConfig":
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel {self.kernel} is even; the length is kept by odd ones only")
        return self


class LightTConfig(Section):
    size: Literal["tiny", "small", "base", "large"] = "base"
    """(layers, heads, hidden, feed-forward): tiny (1,4,256,1024), small (2,4,512,2048), base (3,8,512,2048),
    large (4,8,1024,4096) (paper, table 7)."""
    dropout: Probability = 0.1
    """Of Light-T, in training."""


class VisualTrainingConfig(OptimizerConfig):
    """Stage 1."""

    epochs: PositiveInt = 75
    batch_size: PositiveInt = 8
    lr: PositiveFloat = 1e-2
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """Of stage 1 (paper: SGD)."""
    momentum: Probability = 0.9
    """Of SGD."""
    betas: tuple[Probability, Probability] = (0.9, 0.98)
    """Of AdamW."""
    evaluate_every: PositiveInt = 1
    """Epochs between evaluations on dev."""
    keep_epochs: tuple[PositiveInt, ...] = ()
    """Epochs whose weights are kept beside the best ones, in `visual/epochs/N` (paper, figure 4)."""

    def recorded(self) -> dict[str, Any]:
        """What is kept beside the best weights changes none of them."""
        settings = super().recorded()
        del settings["keep_epochs"]
        return settings


class FeaturesConfig(Section):
    level: Literal["frame", "sign", "hidden", "imported"] = "sign"
    """What is cached: frame-wise, sign-wise, or hidden states of Light-T's encoder (paper, table 8); imported: features
    that were made elsewhere and brought in by `slt-cache cache import`."""
    dtype: Literal["float16", "float32"] = "float16"
    """Of the numbers in the cache."""
    views: Annotated[int, Field(ge=1, le=100)] = 1
    """Of each clip: view 0 is plain, the others are augmented as `augmentation` says; stage 2 draws one a clip and
    epoch."""
    view_seed: NonNegativeInt = 0
    """Of the augmented views."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Of the frozen encoder; bf16 and fp16 are faster on a GPU, and make other features."""
    batch_frames: PositiveInt | None = None
    """Kept frames that go through the encoder at once; null for as many as suit the device."""
    clips_per_part: PositiveInt = 64
    """Clips in one part file, the unit in which an interrupted extraction goes on."""
