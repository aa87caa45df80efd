"""slt-cache: gloss-free sign language translation in two stages, built around a feature cache.

Exports are imported at first use, so that `import slt_cache` is quick. Messages go through
`logging.getLogger("slt_cache")`; `progress.log_to_stderr()` shows them as the command line does."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slt_cache.features.cache import FeatureCache
    from slt_cache.metrics.scores import score
    from slt_cache.models.translators import SignTranslator
    from slt_cache.pipeline.encoder import load_encoder
    from slt_cache.pipeline.translate import Translator
    from slt_cache.runs.run import open_run

__version__ = "0.1.0"

_HOMES = {
    "FeatureCache": "slt_cache.features.cache",
    "SignTranslator": "slt_cache.models.translators",
    "Translator": "slt_cache.pipeline.translate",
    "load_encoder": "slt_cache.pipeline.encoder",
    "open_run": "slt_cache.runs.run",
    "score": "slt_cache.metrics.scores",
}
__all__ = ["FeatureCache", "SignTranslator", "Translator", "__version__", "load_encoder", "open_run", "score"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'slt_cache' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
