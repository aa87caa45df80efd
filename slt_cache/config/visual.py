"""Settings of stage 1 (the visual encoder with Light-T) and of the cached features."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from slt_cache.config.objective import CROSS_ENTROPY, Terms, require_terms
from slt_cache.config.optimizer import OptimizerConfig
from slt_cache.config.section import PathName, Probability, Section, _without_off, require_init_from

OF_NAMED = ("name", "named_weights", "output", "scales", "stride", "python", "clips_per_call")
"""Settings of the section `encoder` for named encoders alone, which belong to cached features, and to nothing in stage
1."""
OF_TORCHVISION = "torchvision:"
"""Beginning of the names of torchvision's networks, which those of `backbone` may lack."""


def is_network(name: Any) -> bool:
    """Returns whether a value of `encoder.name` is a network whose weights are a setting: of torchvision, or
    efficientnet-lite0."""
    return isinstance(name, str) and ":" not in name.removeprefix(OF_TORCHVISION)


class EncoderConfig(Section):
    name: PathName | None = None
    """Encoder that is used as it comes, frozen, and needs no stage 1: a torchvision CNN by the name of a `backbone`,
    such as resnet18; torchvision:NAME for its other image classifiers; hf:NAME or hf:FOLDER for a vision model of
    transformers; efficientnet-lite0; pose:mediapipe for landmarks; command:PROGRAM for a program that writes features
    (slt_cache/encoders/README.md). null: the encoder that stage 1 trains."""
    named_weights: PathName | None = None
    """Weights of a network (of torchvision, or efficientnet-lite0) that `name` names, with the values of `weights`;
    null: those of `weights`. A command line that names a network sets them: to the `weights` given there, or else to
    imagenet, whatever a config says of those of stage 1. Commands that read these alone, such as extract-features and
    translate, take `weights` for them, too; train-visual and train-joint never do."""
    output: Literal["pooled", "class", "patches"] | None = None
    """Output of an hf: encoder that is the feature of a frame: the pooled one, the class token, or the mean of all
    patches; null: the pooled one where the model has it, else the mean of all patches."""
    scales: tuple[PositiveInt, ...] = (1,)
    """Scales at which a named encoder sees a frame; at scale 2, as 2 x 2 tiles of its own size (S2), whose features are
    averaged. Those of all scales are concatenated; SpaMo's are [1, 2]."""
    stride: PositiveInt | None = None
    """Kept frames between the starts of two windows of a named encoder of video, such as VideoMAE; null: half a window,
    8 of 16 frames, as in SpaMo."""
    python: PathName | None = None
    """pose:mediapipe: interpreter that runs MediaPipe, such as pose/bin/python of an environment that has it; null:
    this program's own."""
    clips_per_call: PositiveInt = 64
    """command:PROGRAM: clips per call of the program."""
    backbone: str = "resnet18"
    """Network applied to each frame, by its name in slt_cache/encoders/registry.py; resnet18 in the paper.
    efficientnet-lite0 brings its ImageNet weights with a package."""
    weights: PathName = "imagenet"
    """Weights with which stage 1 starts: imagenet, none (random), or the path of a state dict (.pth or .safetensors).
    Those of a named encoder are set with its name (`named_weights`)."""
    init_from: PathName | None = None
    """A finished stage 1, such as `OTHER/visual/best` or one of its kept epochs: training begins with its encoder and
    its Light-T, in place of `weights`. A joint training, `OTHER/joint/best`, has an encoder without Light-T."""
    init_without: tuple[Literal["temporal", "light_t"], ...] = ()
    """Parts of `init_from` that do not fit and are started fresh: the temporal module (another `dim` or `kernel`),
    Light-T (another size, tokenizer or language)."""
    dim: PositiveInt = 512
    """Channels of the sign-wise features, C (not given in the paper)."""
    kernel: Annotated[int, Field(ge=1)] = 5
    """Kernel width of the temporal convolution, in time steps (not given in the paper)."""
    checkpointing: bool = False
    """Activation checkpointing: recompute the activations of the backbone's blocks in the backward pass instead of
    storing them. Same results in less memory and more time."""
    chunk_frames: Annotated[int, Field(ge=8)] | None = None
    """Kept frames per pass through the backbone in training, recomputed in the backward pass; null for the whole batch.
    Memory is that of one chunk. Results differ from null, since batch norm uses the statistics of a chunk, which would
    be noise below 8 frames."""

    def recorded(self) -> dict[str, Any]:
        """Returns the settings as training records hold them, without those that change no result. Those that were
        added later are omitted when off, so older records still compare equal."""
        recorded = _without_off(self, {"chunk_frames", "init_from", "init_without"})
        return {name: value for name, value in recorded.items() if name not in ("checkpointing", *OF_NAMED)}

    @model_validator(mode="after")
    def _each_scale_once(self) -> "EncoderConfig":
        if not self.scales or list(self.scales) != sorted(set(self.scales)):
            raise ValueError(
                f"scales {list(self.scales)} must be one or more numbers in ascending order, such as [1, 2]"
            )
        return self

    @model_validator(mode="after")
    def _odd(self) -> "EncoderConfig":
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel {self.kernel} is even; only an odd kernel keeps the length")
        require_init_from(self.init_from, self.init_without)
        return self

    def as_named(self) -> "EncoderConfig":
        """Returns the settings of the named encoder, with its weights in `weights`."""
        return self.model_copy(update={"weights": self.named_weights or self.weights, "named_weights": None})

    @property
    def first_weights(self) -> str:
        """The weights of the backbone before training: none if `init_from` brings them."""
        return self.weights if self.init_from is None else "none"


class LightTConfig(Section):
    size: Literal["tiny", "small", "base", "large"] = "base"
    """Size of Light-T as (layers, heads, hidden, feed-forward): tiny (1,4,256,1024), small (2,4,512,2048), base
    (3,8,512,2048), large (4,8,1024,4096) (paper, table 7)."""
    dropout: Probability = 0.1
    """Dropout of Light-T in training."""


class VisualTrainingConfig(OptimizerConfig):
    """Settings of stage 1, the training of the visual encoder."""

    epochs: PositiveInt = 75
    batch_size: PositiveInt = 8
    lr: PositiveFloat = 1e-2
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """Optimizer of stage 1 (paper: SGD)."""
    momentum: Probability = 0.9
    """Momentum of SGD."""
    betas: tuple[Probability, Probability] = (0.9, 0.98)
    """Betas of AdamW."""
    objective: Terms = (CROSS_ENTROPY,)
    """Terms of the loss: cross-entropy, which is always one (FLa-LLM), and any of contrastive (GFSLT-VLP), cico (CiCo),
    signcl (SignCL) and denoising (GFSLT-VLP); slt_cache/training/objectives/ describes each."""
    objective_weights: dict[str, PositiveFloat] = Field(default_factory=dict)
    """Weights of the terms, such as `--set visual_training.objective_weights.signcl=0.1`; a term that is not named has
    weight 1, signcl 0.01."""
    evaluate_every: PositiveInt = 1
    """Epochs between evaluations on dev."""
    curriculum: Literal["none", "short-first"] = "none"
    """Order of the clips in the first `curriculum_epochs` epochs; each epoch has every clip. short-first: from the
    shortest to the longest (SortaGrad, Amodei et al. 2016, 3.2), those of equal length at random; none: random."""
    curriculum_epochs: PositiveInt = 1
    """Epochs of the curriculum."""
    frame_dropout: Probability = 0.0
    """Fraction of the kept frames that are left out of a clip at random, others in each epoch; at least two stay."""
    time_masks: NonNegativeInt = 0
    """Spans of time steps per clip whose features are zeroed before Light-T (SpecAugment, Park et al. 2019)."""
    time_mask_width: PositiveInt = 10
    """Most time steps of such a span, which covers at most a fifth of its clip."""
    keep_epochs: tuple[PositiveInt, ...] = ()
    """Epochs whose weights are kept in addition to the best ones, in `visual/epochs/N` (paper, figure 4)."""

    later: ClassVar[tuple[str, ...]] = (
        *OptimizerConfig.later,
        *("objective", "objective_weights", "curriculum", "curriculum_epochs"),
        *("frame_dropout", "time_masks", "time_mask_width"),
    )

    def recorded(self) -> dict[str, Any]:
        """Returns the settings without `keep_epochs`, which does not change the best weights."""
        settings = super().recorded()
        del settings["keep_epochs"]
        return settings

    @model_validator(mode="after")
    def _weights_of_terms(self) -> "VisualTrainingConfig":
        require_terms(self.objective_weights, self.objective)
        return self


class FeaturesConfig(Section):
    level: Literal["frame", "sign", "hidden", "imported"] = "sign"
    """Features to cache: frame-wise, sign-wise, or hidden states of Light-T's encoder (paper, table 8); imported:
    features made elsewhere and imported with `slt-cache cache import`."""
    dtype: Literal["float16", "float32"] = "float16"
    """Data type of the cached features."""
    views: Annotated[int, Field(ge=1, le=100)] = 1
    """Views per clip: view 0 is plain, the others are augmented according to `augmentation`; stage 2 draws one per clip
    and epoch."""
    view_seed: NonNegativeInt = 0
    """Random seed of the augmented views."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Precision of the frozen encoder; bf16 and fp16 are faster on a GPU, but give different features."""
    batch_frames: PositiveInt | None = None
    """Kept frames per pass through the frozen encoder; null for a number that suits the device."""
    clips_per_part: PositiveInt = 64
    """Clips per part file, the unit in which an interrupted extraction resumes."""
    max_file_gb: PositiveFloat | None = None
    """Gigabytes (10^9 bytes). A cache that would be larger as one file becomes a folder of files of at most this size,
    which is read as one; null: always one file."""

    @property
    def max_file_bytes(self) -> int | None:
        """Largest size of a file in bytes; None for any size."""
        return None if self.max_file_gb is None else round(self.max_file_gb * 1e9)
