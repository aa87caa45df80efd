"""Scoring of hypotheses with the preset, metrics and text choices of the settings."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from slt_cache.config import Config
from slt_cache.corpora.registry import corpus_of, language_code
from slt_cache.errors import InputError
from slt_cache.metrics.base import Score
from slt_cache.metrics.normalization import TextChoices
from slt_cache.metrics.registry import with_requested
from slt_cache.metrics.scores import score
from slt_cache.progress import progress_steps
from slt_cache.text.scripts import has_spaces

if TYPE_CHECKING:
    from slt_cache.decoding.search import Hypothesis  # imports torch, which preset_of does not need


def preset_of(config: Config) -> str:
    """Returns the scoring preset of the settings, else that of the corpus or language. Raises InputError if none is
    known: split at whitespace, a language written without it would score almost nothing."""
    if config.scoring.preset is not None:
        return config.scoring.preset
    preset = corpus_of(config).preset
    if preset is not None:
        return preset
    code = language_code(config)
    if code is None:
        raise InputError("scoring.preset: not set, nor is llm.language. Set one, such as --set scoring.preset=plain.")
    return "plain" if has_spaces(code) else "csl-daily"


def choices_of(config: Config) -> TextChoices:
    """Returns the normalization of both texts before scoring; none by default."""
    return TextChoices(final_dot=config.scoring.final_dot, lowercase=config.scoring.lowercase)


def metrics_of(config: Config) -> tuple[str, ...]:
    """Returns the keys of the metrics of an evaluation: the standard ones, those of `scoring.metrics`, and those that
    trainings select by."""
    selecting = (config.visual_training.select_by, config.llm_training.select_by)
    return with_requested([*config.scoring.metrics, *selecting])


def score_hypotheses(
    config: Config,
    hypotheses: Sequence["Hypothesis"],
    references: Sequence[str],
    bootstrap: int | None = None,
) -> dict[str, Score]:
    """Scores hypotheses against raw references; only scoring.final_dot and scoring.lowercase change the texts, both
    alike. `bootstrap` is the number of resamples for 95 % intervals."""
    texts = [hypothesis.texts[0] for hypothesis in hypotheses]
    keys = metrics_of(config)
    with progress_steps("scoring", len(keys), "metric") as step:
        return score(texts, references, preset_of(config), choices_of(config), bootstrap, step, keys)


def rounded(scores: dict[str, Score]) -> dict[str, float]:
    """Returns the values rounded to two decimals, as printed and saved."""
    return {key: round(found.value, 2) for key, found in scores.items()}
