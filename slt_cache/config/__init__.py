"""Settings of a run."""

from slt_cache.config.load import check_config, differences, load_config, save_config, shipped_configs
from slt_cache.config.sections import (
    AugmentationConfig,
    ComputeConfig,
    Config,
    CorpusConfig,
    EncoderConfig,
    FeaturesConfig,
    GenerationConfig,
    LightTConfig,
    LlmConfig,
    LlmPretrainingConfig,
    LlmTrainingConfig,
    OptimizerConfig,
    ScoringConfig,
    VideoConfig,
    VisualTrainingConfig,
)

__all__ = [
    "AugmentationConfig",
    "ComputeConfig",
    "Config",
    "CorpusConfig",
    "EncoderConfig",
    "FeaturesConfig",
    "GenerationConfig",
    "LightTConfig",
    "LlmConfig",
    "LlmPretrainingConfig",
    "LlmTrainingConfig",
    "OptimizerConfig",
    "ScoringConfig",
    "VideoConfig",
    "VisualTrainingConfig",
    "check_config",
    "differences",
    "load_config",
    "save_config",
    "shipped_configs",
]
