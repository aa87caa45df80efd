"""Settings of a run."""

from slt_cache.config.data import AugmentationConfig, CorpusConfig, ScoringConfig, VideoConfig
from slt_cache.config.llm import (
    CAUSAL,
    PREFIX,
    WHOLE_LR,
    GenerationConfig,
    LlmConfig,
    LlmPretrainingConfig,
    LoraConfig,
)
from slt_cache.config.llm_training import LlmTrainingConfig, TemporalConfig
from slt_cache.config.load import (
    check_config,
    differences,
    for_each_stage,
    for_network,
    is_as_written,
    load_config,
    save_config,
    shipped_configs,
    stated_in,
    with_settings,
)
from slt_cache.config.objective import CROSS_ENTROPY
from slt_cache.config.optimizer import BLEU4, OptimizerConfig
from slt_cache.config.protocols import PROTOCOLS, statement, text_choices
from slt_cache.config.run import ComputeConfig, Config
from slt_cache.config.section import expanded
from slt_cache.config.visual import (
    OF_NAMED,
    OF_TORCHVISION,
    EncoderConfig,
    FeaturesConfig,
    LightTConfig,
    VisualTrainingConfig,
    is_network,
)

__all__ = [
    "BLEU4",
    "CAUSAL",
    "CROSS_ENTROPY",
    "OF_NAMED",
    "OF_TORCHVISION",
    "PREFIX",
    "PROTOCOLS",
    "WHOLE_LR",
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
    "LoraConfig",
    "OptimizerConfig",
    "ScoringConfig",
    "TemporalConfig",
    "VideoConfig",
    "VisualTrainingConfig",
    "check_config",
    "differences",
    "expanded",
    "for_each_stage",
    "for_network",
    "is_as_written",
    "is_network",
    "load_config",
    "save_config",
    "shipped_configs",
    "stated_in",
    "statement",
    "text_choices",
    "with_settings",
]
