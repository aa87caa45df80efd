"""Scoring of hypotheses with the preset, metrics and text choices of the settings."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slt_cache.config import Config
from slt_cache.corpora.base import Origin
from slt_cache.corpora.languages import labels_of
from slt_cache.corpora.registry import corpus_of, language_code
from slt_cache.errors import InputError
from slt_cache.metrics.base import Score
from slt_cache.metrics.normalization import TextChoices
from slt_cache.metrics.presets import MIXED
from slt_cache.metrics.registry import with_requested
from slt_cache.metrics.scores import score
from slt_cache.progress import progress_steps
from slt_cache.text.scripts import has_spaces

if TYPE_CHECKING:
    from slt_cache.decoding.search import Hypothesis  # imports torch, which preset_of does not need


@dataclass(frozen=True)
class Part:
    """Scores of the clips of one language, or of one corpus, in a split of several."""

    clips: int
    scores: dict[str, Score]


Parts = dict[str, dict[str, Part]]
"""`by_language` and `by_corpus`, as far as there are several, by name."""


def preset_of(config: Config, origins: Iterable[Origin] | None = None) -> str:
    """Returns the scoring preset of the settings, else that of the corpus or language; for clips of these `origins`, by
    default all, that would have different ones, it is `mixed`. Raises InputError if none is known: split at whitespace,
    a language written without it would score almost nothing."""
    if config.scoring.preset is not None:
        return config.scoring.preset
    preset = corpus_of(config).preset
    if preset is not None:
        return preset
    names = {_preset_of(config, one) for one in (_origins(config) if origins is None else origins)}
    return names.pop() if len(names) == 1 else MIXED


def _origins(config: Config) -> list[Origin]:
    """Returns all origins that the clips of a run may have."""
    corpora = config.corpus.merged or ("",)
    languages = config.corpus.languages or labels_of(config.llm.language) or ("",)
    return [Origin(corpus, language) for corpus in corpora for language in languages]


def _preset_of(config: Config, origin: Origin) -> str:
    code = origin.language or language_code(config)
    if origin.corpus in config.corpus.presets:
        return config.corpus.presets[origin.corpus]
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


def score_parts(
    config: Config, hypotheses: Sequence["Hypothesis"], references: Sequence[str], origins: Sequence[Origin]
) -> Parts:
    """Scores the clips of each language and of each corpus, if there are several, each with its own preset."""
    parts: Parts = {}
    for what in Origin._fields[::-1]:
        places: dict[str, list[int]] = {}
        for place, origin in enumerate(origins):
            places.setdefault(getattr(origin, what), []).append(place)
        if len(places) > 1:
            parts[f"by_{what}"] = {
                name: _part(config, hypotheses, references, origins, found) for name, found in sorted(places.items())
            }
    return parts


def _part(
    config: Config,
    hypotheses: Sequence["Hypothesis"],
    references: Sequence[str],
    origins: Sequence[Origin],
    places: Sequence[int],
) -> Part:
    texts, wanted = ([one[place] for place in places] for one in ([h.texts[0] for h in hypotheses], references))
    preset = preset_of(config, [origins[place] for place in places])
    found = score(texts, wanted, preset, choices_of(config), metrics=metrics_of(config))
    return Part(len(places), found)


def parts_to_json(parts: Parts) -> dict[str, Any]:
    """Returns the scores of languages and corpora, as --json and the file of an evaluation have them."""
    return {
        what: {
            name: {
                "clips": part.clips,
                "scores": rounded(part.scores),
                "signatures": {key: one.signature for key, one in part.scores.items()},
            }
            for name, part in found.items()
        }
        for what, found in parts.items()
    }


def rounded(scores: dict[str, Score]) -> dict[str, float]:
    """Returns the values rounded to two decimals, as printed and saved."""
    return {key: round(found.value, 2) for key, found in scores.items()}
