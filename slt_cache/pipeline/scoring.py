"""Hypotheses of clips -> scores, with the preset of the corpus."""

from collections.abc import Sequence

from slt_cache.config import Config
from slt_cache.decoding.decode import Hypothesis
from slt_cache.metrics.scores import Score, score


def preset_of(config: Config) -> str:
    """The scoring preset that the settings name, else the one that suits the corpus."""
    if config.scoring.preset is not None:
        return config.scoring.preset
    return "csl-daily" if config.language_code.startswith("zh") else "plain"


def score_hypotheses(config: Config, hypotheses: Sequence[Hypothesis], references: Sequence[str]) -> dict[str, Score]:
    """Always against the raw reference text."""
    return score([hypothesis.texts[0] for hypothesis in hypotheses], references, preset_of(config))


def rounded(scores: dict[str, Score]) -> dict[str, float]:
    """Figures rounded to two places, as they are printed and saved."""
    return {key: round(found.value, 2) for key, found in scores.items()}
