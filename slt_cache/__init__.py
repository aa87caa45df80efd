"""slt-cache: gloss-free sign language translation in two stages, built around a feature cache.

From Python: `from slt_cache import FeatureCache, SignTranslator, Translator`; each is imported when it is asked for."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "FeatureCache": "slt_cache.features.cache",
    "SignTranslator": "slt_cache.models.translators",
    "Translator": "slt_cache.pipeline.translate",
}
__all__ = ["FeatureCache", "SignTranslator", "Translator", "__version__"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'slt_cache' has no attribute {name!r}")
