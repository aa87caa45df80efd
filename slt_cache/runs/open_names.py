"""Settings whose values are names in a registry, and the refusal of unknown ones. They are plain text in the config,
which knows no registry."""

from collections.abc import Iterable, Mapping

from slt_cache.config import PROTOCOLS, Config
from slt_cache.corpora.registry import CORPORA
from slt_cache.errors import InputError
from slt_cache.metrics.presets import PRESETS
from slt_cache.metrics.registry import METRICS, NEURAL
from slt_cache.runs.settings_use import value_of
from slt_cache.training.objectives.registry import OBJECTIVES

REGISTRIES: Mapping[str, Iterable[str]] = {
    "corpus.name": CORPORA,
    "scoring.preset": PRESETS,
    "scoring.metrics": METRICS,
    "scoring.protocol": PROTOCOLS,
    "visual_training.select_by": METRICS,
    "llm_training.select_by": METRICS,
    "visual_training.objective": OBJECTIVES,
    "llm_training.objective": OBJECTIVES,
}
"""Permitted names of each setting, `section.key`, or of each entry of its list."""


def require_known_names(config: Config) -> None:
    """Raises InputError for a name missing from its registry, listing those in it."""
    settings = config.model_dump(mode="json")
    for setting, names in REGISTRIES.items():
        value = value_of(settings, setting)
        for name in value if isinstance(value, list) else [value]:
            if name is not None and name not in names:
                raise InputError(f"{setting} {name}: unknown. Choose one of {', '.join(names)}.")
    for name in config.scoring.models:
        if name not in NEURAL:
            raise InputError(f"scoring.models.{name}: unknown. Metrics that need a model are {', '.join(NEURAL)}.")
