"""Scoring of hypotheses with the preset, metrics and text choices of the settings."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from slt_cache.config import Config, statement
from slt_cache.corpora.base import Origin
from slt_cache.corpora.languages import labels_of
from slt_cache.corpora.registry import corpus_of, language_code
from slt_cache.errors import InputError
from slt_cache.metrics.base import Score
from slt_cache.metrics.normalization import TextChoices
from slt_cache.metrics.presets import MIXED
from slt_cache.metrics.registry import METRICS, asked_for, with_requested
from slt_cache.metrics.scores import score
from slt_cache.metrics.wer import words_counted
from slt_cache.progress import progress_steps
from slt_cache.text.scripts import has_spaces

if TYPE_CHECKING:
    from slt_cache.decoding.search import Hypothesis  # imports torch, which preset_of does not need
    from slt_cache.runs.run import Run
    from slt_cache.text.tokenizer import Tokenizer


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


def choices_of(config: Config, weights: Mapping[str, Any] | None = None) -> TextChoices:
    """Returns the normalization of both texts before scoring, none by default, and what metrics and signatures need
    besides. `weights` is the record of the scored weights, for a protocol that says how weights are trained."""
    scoring, code = config.scoring, language_code(config)
    return TextChoices(
        final_dot=scoring.final_dot,
        lowercase=scoring.lowercase,
        protocol=statement(config, weights),
        languages=tuple(labels_of(code) or ([] if code is None else [code])),
        models=scoring.models,
        python=scoring.python,
    )


def require_scoring(config: Config) -> None:
    """Raises InputError if scoring would fail, before hours of work: without a preset, or without a package."""
    preset_of(config)
    choices = choices_of(config)
    for key in metrics_of(config):
        METRICS[key].check(choices)


def references_of(config: Config, texts: Sequence[str], tokenizer: "Tokenizer") -> list[str]:
    """Returns the references that hypotheses are scored against (`scoring.references`)."""
    if config.scoring.references == "corpus":
        return list(texts)
    return [tokenizer.decode(tokenizer.encode(text)) for text in texts]


def metrics_of(config: Config) -> tuple[str, ...]:
    """Returns the keys of the metrics of an evaluation: the standard ones, those of `scoring.metrics`, and those that
    trainings select by."""
    selecting = (config.visual_training.select_by, config.llm_training.select_by)
    return with_requested([*config.scoring.metrics, *selecting])


def with_metrics(run: "Run", metrics: Iterable[str], content_words: bool) -> "Run":
    """Returns the run with the metrics of a command line besides those of its settings, which are not saved."""
    keys, models = asked_for(metrics, content_words)
    scoring = run.config.scoring
    changed = {"metrics": (*scoring.metrics, *keys), "models": {**scoring.models, **models}}
    config = run.config.model_copy(update={"scoring": scoring.model_copy(update=changed)})
    return replace(run, config=config, lasting=run.lasting or run.config)


def words_of_wer(config: Config, references: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Returns which words the word error rates of the settings count; empty if they have none."""
    return words_counted(references, preset_of(config), choices_of(config), metrics_of(config))


def score_hypotheses(
    config: Config,
    hypotheses: Sequence["Hypothesis"],
    references: Sequence[str],
    bootstrap: int | None = None,
    weights: Mapping[str, Any] | None = None,
) -> dict[str, Score]:
    """Scores hypotheses against raw references; only scoring.final_dot and scoring.lowercase change the texts, both
    alike. `bootstrap` is the number of resamples for 95 % intervals, `weights` the record of the scored weights."""
    texts = [hypothesis.texts[0] for hypothesis in hypotheses]
    keys = metrics_of(config)
    with progress_steps("scoring", len(keys), "metric") as step:
        return score(texts, references, preset_of(config), choices_of(config, weights), bootstrap, step, keys)


def score_parts(
    config: Config,
    hypotheses: Sequence["Hypothesis"],
    references: Sequence[str],
    origins: Sequence[Origin],
    weights: Mapping[str, Any] | None = None,
) -> Parts:
    """Scores the clips of each language and of each corpus, if there are several, each with its own preset."""
    parts: Parts = {}
    choices = choices_of(config, weights)
    for what in Origin._fields[::-1]:
        places: dict[str, list[int]] = {}
        for place, origin in enumerate(origins):
            places.setdefault(getattr(origin, what), []).append(place)
        if len(places) > 1:
            parts[f"by_{what}"] = {
                name: _part(config, choices, hypotheses, references, origins, found)
                for name, found in sorted(places.items())
            }
    return parts


def _part(
    config: Config,
    choices: TextChoices,
    hypotheses: Sequence["Hypothesis"],
    references: Sequence[str],
    origins: Sequence[Origin],
    places: Sequence[int],
) -> Part:
    texts, wanted = ([one[place] for place in places] for one in ([h.texts[0] for h in hypotheses], references))
    preset = preset_of(config, [origins[place] for place in places])
    languages = tuple(sorted({origins[place].language for place in places} - {""})) or choices.languages
    found = score(texts, wanted, preset, replace(choices, languages=languages), metrics=metrics_of(config))
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
