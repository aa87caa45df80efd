"""Settings of stage 2: the training of the LLM on cached features."""

from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator, model_validator

from slt_cache.config.objective import Terms, require_terms
from slt_cache.config.optimizer import OptimizerConfig
from slt_cache.config.section import Probability, Section

CHANNELS, TIME = "channels", "time"
"""Values of llm_training.stream_fusion."""


class TemporalConfig(Section):
    """Local temporal module before the adapter: Conv1d, BatchNorm and ReLU over time, of as many channels as the
    features have (Chen et al. 2024, 4.2). It is trained with the adapter, from the cache."""

    kernel: Annotated[int, Field(ge=1)] = 5
    """Kernel width of the convolution, in time steps; odd."""
    stride: PositiveInt = 1
    """Time steps of the features for each step that the LLM reads."""

    @field_validator("kernel")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError(f"{value} is even; only an odd kernel is centred on a time step")
        return value


class LlmTrainingConfig(OptimizerConfig):
    """Settings of stage 2, the training of the LLM on cached features."""

    seed: NonNegativeInt | None = None
    """Random seed of stage 2; null for the run's seed. `train-llm --seed` sets it if stage 1 was trained with another
    seed."""
    fraction: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    """corpus.fraction of stage 2; null for that of the run. `train-llm --set corpus.fraction` sets it if stage 1 was
    trained with another share."""
    epochs: PositiveInt = 50
    batch_size: PositiveInt = 16
    lr: PositiveFloat = 1e-5
    """Peak learning rate of the LLM (paper, 4.3)."""
    adapter_lr: PositiveFloat = 1e-3
    """Peak learning rate of the LLM-Adapter (paper, 4.3)."""
    dropout: Probability | None = None
    """Dropout of the LLM; null for the value it was pre-trained with."""
    feature_dropout: Probability = 0.0
    """Dropout on single feature values (each channel of each time step independently) in training."""
    step_dropout: Probability = 0.0
    """Fraction of the time steps whose features are zeroed entirely in training."""
    channel_dropout: Probability = 0.0
    """Fraction of the channels of each clip that are zeroed over all time steps in training."""
    temporal: TemporalConfig | None = None
    """Temporal module between features and adapter, such as `--set llm_training.temporal.stride=2`, for features of an
    encoder without one; null: none. With several streams each has its own."""
    stream_fusion: Literal["channels", "time"] = "channels"
    """Fusion of several streams of features. channels: the adapters' outputs are summed at each time step; a stream of
    another length is first resampled to the length of the first stream, by linear interpolation. time: the streams
    follow each other, each marked by a learned embedding. Each stream has a learned weight, 1 at the start."""
    stream_dropout: Probability = 0.0
    """Fraction of the streams that are left out of a clip in training; at least one stays."""
    length_buckets: bool = True
    """Group clips of similar length into batches, which reduces padding from about half to under 10 % for clips as long
    as PHOENIX14T's."""
    unfreeze: Literal["none", "temporal", "all"] = "none"
    """Parts of the visual encoder that are trained with the LLM: none (train from the cache), or from pixels the
    temporal module or all of it (paper, table 9). `train-joint` takes none for all."""
    encoder_lr: PositiveFloat = 1e-4
    """Peak learning rate of the unfrozen parts of the visual encoder; our choice, the paper does not give it."""
    checkpointing: bool = False
    """Activation checkpointing of the LLM: recompute the activations of its layers in the backward pass instead of
    storing them. Same results in less memory and more time; encoder.checkpointing is that of the visual encoder."""
    objective: Terms | None = None
    """Terms of the loss in a training from the cache, as visual_training.objective names them, for an LLM that is an
    encoder-decoder; signcl, which only shapes the visual encoder, is none. null: the cross-entropy alone, but for
    light-t those of visual_training.objective."""
    objective_weights: dict[str, PositiveFloat] = Field(default_factory=dict)
    """Weights of the terms, as in visual_training.objective_weights."""
    patience: PositiveInt | None = 10
    evaluate_every: PositiveInt = 1
    """Epochs between evaluations on dev."""

    def recorded(self) -> dict[str, Any]:
        """Returns the settings without those that change no result, and without seed and fraction, which the record has
        elsewhere. Those that were added later are omitted at their defaults, so older records still compare equal."""
        recorded = super().recorded()
        del recorded["seed"], recorded["fraction"], recorded["checkpointing"]
        usual: dict[str, Any] = {"channel_dropout": 0.0, "temporal": None, "stream_fusion": CHANNELS}
        usual |= {"stream_dropout": 0.0, "objective": None, "objective_weights": {}}
        return {name: value for name, value in recorded.items() if name not in usual or value != usual[name]}

    @model_validator(mode="after")
    def _weights_of_terms(self) -> "LlmTrainingConfig":
        require_terms(self.objective_weights, self.objective or ())
        return self

    @property
    def of_translator(self) -> dict[str, Any]:
        """Settings of the model besides its LLM, as SignTranslator takes them."""
        names = ("feature_dropout", "step_dropout", "channel_dropout", "temporal", "stream_fusion", "stream_dropout")
        return {name: getattr(self, name) for name in names}


class ControlConfig(Section):
    """Light-T baseline of a stage-2 score: stage 1's Light-T, trained further on the same cache for all of stage 2's
    epochs, without early stopping."""

    lr: PositiveFloat = 5e-4
    """Peak learning rate of AdamW for both adapter and Light-T."""
