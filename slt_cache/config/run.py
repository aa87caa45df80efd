"""Every section of settings together, as `config.yaml` holds them."""

from typing import Annotated, Literal

from pydantic import (
    Field,
    NonNegativeInt,
    model_validator,
)

from slt_cache.config.data import AugmentationConfig, CorpusConfig, ScoringConfig, VideoConfig
from slt_cache.config.llm import ControlConfig, GenerationConfig, LlmConfig, LlmPretrainingConfig, LlmTrainingConfig
from slt_cache.config.section import Section
from slt_cache.config.visual import EncoderConfig, FeaturesConfig, LightTConfig, VisualTrainingConfig


class ComputeConfig(Section):
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Of the training steps; features.precision is that of the frozen encoder."""
    workers: NonNegativeInt = 2
    """Processes that read videos."""
    save_minutes: Annotated[float, Field(ge=0.0)] = 10.0
    """Between two savings of a training's state within an epoch: a killed one loses no more than that; 0 saves after
    every update. It is saved after every epoch too, and on Ctrl-C and SIGTERM."""
    diagnostics: bool = True
    """Every tenth update logs the gradient norm, before clipping, and the parameter norm of the last layer of each
    module, as the paper's figure 2 shows them."""
    tracker: Literal["none", "tensorboard", "wandb"] = "none"
    """Where the figures of metrics.jsonl, which is written always, go beside it; the packages are not
    installed by themselves: pip install tensorboard, or wandb."""
    sync_batchnorm: bool = True
    """Of several processes (torchrun): batch norms go by the statistics of the whole batch, as those of one process do;
    false: by those of each process's share."""
    verify_features: bool = True
    """Compare each row of a feature cache with its checksum when a process first reads it. `slt-cache bench cache`
    measures what it costs."""
    compile: bool = False
    """Trainings from pixels run the backbone compiled by torch.compile; for a GPU, where the compiling pays. Numbers
    differ in the last digits."""


class Config(Section):
    """One run."""

    seed: NonNegativeInt = 0
    """Of everything random in training; the demo corpus has its own."""
    corpus: CorpusConfig = CorpusConfig()
    video: VideoConfig = VideoConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    encoder: EncoderConfig = EncoderConfig()
    light_t: LightTConfig = LightTConfig()
    visual_training: VisualTrainingConfig = VisualTrainingConfig()
    features: FeaturesConfig = FeaturesConfig()
    llm: LlmConfig = LlmConfig()
    llm_pretraining: LlmPretrainingConfig = LlmPretrainingConfig()
    llm_training: LlmTrainingConfig = LlmTrainingConfig()
    control: ControlConfig = ControlConfig()
    generation: GenerationConfig = GenerationConfig()
    scoring: ScoringConfig = ScoringConfig()
    compute: ComputeConfig = ComputeConfig()

    @model_validator(mode="after")
    def _compiled_whole(self) -> "Config":
        if self.compute.compile and (self.encoder.checkpointing or self.encoder.chunk_frames):
            raise ValueError("compute.compile goes with neither encoder.checkpointing nor encoder.chunk_frames")
        return self

    @property
    def of_stage_2(self) -> "Config":
        """The same settings with stage 2's seed."""
        own = self.llm_training.seed
        return self if own is None else self.model_copy(update={"seed": own})
