"""Complete settings of a run, as `config.yaml` holds them."""

import os
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    NonNegativeInt,
    model_validator,
)

from slt_cache.config.data import AugmentationConfig, CorpusConfig, ScoringConfig, VideoConfig
from slt_cache.config.llm import GenerationConfig, LlmConfig, LlmPretrainingConfig
from slt_cache.config.llm_training import ControlConfig, LlmTrainingConfig
from slt_cache.config.protocols import filled
from slt_cache.config.section import Section
from slt_cache.config.visual import EncoderConfig, FeaturesConfig, LightTConfig, VisualTrainingConfig
from slt_cache.threads import available_cores


class ComputeConfig(Section):
    device: str = "auto"
    """Device to compute on: auto, cpu, cuda, cuda:1, mps."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Precision of training; features.precision is that of the frozen encoder."""
    workers: Literal["auto"] | NonNegativeInt = 2
    """Number of processes that read videos. auto: the processor cores that the program may use, shared by the processes
    of torchrun on a machine."""
    save_minutes: Annotated[float, Field(ge=0.0)] = 10.0
    """Minutes between checkpoints of the training state within an epoch, the most that a killed training loses; 0 saves
    after every optimizer step. The state is also saved after every epoch, and on Ctrl-C and SIGTERM."""
    lease_seconds: Annotated[float, Field(gt=0.0)] = 60.0
    """Seconds without a sign of life from a process that joined an extraction (`--join`), after which others make its
    parts. One that Ctrl-C or SIGTERM ends gives them back at once."""
    keep_state: bool = True
    """Keep the last state of a finished training, weights and optimizer (two to three times the size of what
    learns), so that `--continue` can train it for more epochs."""
    diagnostics: bool = True
    """Log, every ten optimizer steps, the gradient norm (before clipping) and the parameter norm of the last layer of
    each module, as in figure 2 of the paper."""
    tracker: Literal["none", "tensorboard", "wandb", "mlflow"] = "none"
    """Experiment tracker that receives the metrics, which metrics.jsonl always records. It is not installed by default:
    pip install tensorboard, wandb or mlflow."""
    sync_batchnorm: bool = True
    """Synchronize batch norm across processes (torchrun), so that statistics are those of the whole batch, as with one
    process; false: each process uses its own shard's."""
    verify_features: bool = True
    """Verify the checksum of each row of a feature cache when a process first reads it. `slt-cache bench cache`
    measures the cost."""
    compile: bool = False
    """Run the backbone through torch.compile when training from pixels; worthwhile on a GPU. Results differ in the last
    digits."""

    @property
    def readers(self) -> int:
        """Number of processes that read videos for this one."""
        if self.workers != "auto":
            return self.workers
        return max(1, available_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


class Config(Section):
    """Settings of one run."""

    seed: NonNegativeInt = 0
    """Random seed of training; the demo corpus has its own."""
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

    @model_validator(mode="before")
    @classmethod
    def _with_protocol(cls, values: Any) -> Any:
        return filled(values)

    @model_validator(mode="after")
    def _compiled_whole(self) -> "Config":
        if self.compute.compile and (self.encoder.checkpointing or self.encoder.chunk_frames):
            raise ValueError("compute.compile cannot be combined with encoder.checkpointing or encoder.chunk_frames")
        return self

    @property
    def of_stage_2(self) -> "Config":
        """Settings with stage 2's seed and share of the clips in place of the run's."""
        own = self.llm_training
        corpus = {} if own.fraction is None else {"corpus": self.corpus.model_copy(update={"fraction": own.fraction})}
        return self.model_copy(update={**({} if own.seed is None else {"seed": own.seed}), **corpus})
