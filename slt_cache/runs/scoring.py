"""Hypotheses of clips -> scores, with the preset of the corpus and the text choices of the settings."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from slt_cache.config import Config
from slt_cache.corpora.registry import corpus_of, language_code
from slt_cache.errors import InputError
from slt_cache.metrics.normalization import TextChoices
from slt_cache.metrics.scores import FIGURES, Score, score
from slt_cache.progress import progress_steps
from slt_cache.text.scripts import has_blanks

if TYPE_CHECKING:
    from slt_cache.decoding.search import Hypothesis  # brings torch, which preset_of does without


def preset_of(config: Config) -> str:
    """The scoring preset that the settings name, else the one that suits the corpus or the language. Raises InputError
    where nothing tells it: cut into words by blanks, a language that is written without would score next to nothing."""
    if config.scoring.preset is not None:
        return config.scoring.preset
    preset = corpus_of(config).preset
    if preset is not None:
        return preset
    code = language_code(config)
    if code is None:
        raise InputError("scoring.preset: not set, nor is llm.language. Set one, such as --set scoring.preset=plain.")
    return "plain" if has_blanks(code) else "csl-daily"


def choices_of(config: Config) -> TextChoices:
    """What the settings have done to both texts before scoring; by default nothing."""
    return TextChoices(final_dot=config.scoring.final_dot, lowercase=config.scoring.lowercase)


def score_hypotheses(
    config: Config, hypotheses: Sequence["Hypothesis"], references: Sequence[str], bootstrap: int | None = None
) -> dict[str, Score]:
    """Always against the raw reference text, which only scoring.final_dot and scoring.lowercase change, and both texts
    alike. With `bootstrap`, 95 % intervals from so many resamples."""
    texts = [hypothesis.texts[0] for hypothesis in hypotheses]
    with progress_steps("scoring", FIGURES, "figure") as step:
        return score(texts, references, preset_of(config), choices_of(config), bootstrap, step)


def rounded(scores: dict[str, Score]) -> dict[str, float]:
    """Figures rounded to two places, as they are printed and saved."""
    return {key: round(found.value, 2) for key, found in scores.items()}
