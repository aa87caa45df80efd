"""Computes the attention of an evaluated model to the cached features: cross-attention, or of a decoder-only LLM
self-attention to the positions of the video. Reads no video."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slt_cache.checkpoints.record import whole_record
from slt_cache.errors import InputError, SltCacheError
from slt_cache.features.cache import FeatureCache
from slt_cache.features.file import CacheFile
from slt_cache.features.spec import FeatureSpec, streams_of
from slt_cache.features.streams import CachedSplit
from slt_cache.progress import progress_counter
from slt_cache.runs.evaluations import Evaluation, Sentence
from slt_cache.runs.run import Run
from slt_cache.runs.unfinished import BEST
from slt_cache.runs.variants import LLM, MODELS
from slt_cache.text.pretrained import CONFIG_FILE, holds_decoder_only

if TYPE_CHECKING:
    from slt_cache.decoding.attention import WordAttention

CLIPS_AT_ONCE = 64
"""Clips between two updates of the progress bar."""


@dataclass(frozen=True)
class CrossAttention:
    """Attention of the hypotheses' words to the video."""

    of_clip: "dict[str, WordAttention]"
    name: str
    """What it is called: cross-attention, or self-attention of a decoder-only LLM."""
    missing: str = ""
    """Sentence that explains why it is missing, for all or for some clips; empty if it is complete."""


def attention_name(is_decoder_only: bool) -> str:
    """Returns what the attention of an LLM's words to the video is called."""
    return "self-attention" if is_decoder_only else "cross-attention"


def attention_of(run: Run, model: str) -> str:
    """Returns what the attention of one of the run's models is called: just attention if its config is damaged."""
    best = run.folder / model / BEST
    folder = next((one for one in (best / LLM.name, best) if (one / CONFIG_FILE).is_file()), None)
    try:
        return attention_name(folder is not None and holds_decoder_only(folder))
    except InputError:
        return "attention"


def read_cross_attention(
    run: Run, cache: CacheFile | str, evaluation: Evaluation, sentences: Sequence[Sentence]
) -> CrossAttention:
    """Computes the attention of the clips for which the run's cache has the features that the model was trained on."""
    name = attention_of(run, evaluation.model)
    if evaluation.model in MODELS and MODELS[evaluation.model].own_encoder:
        return _none(name, "this model has its own encoder, whose features are not cached")
    if evaluation.earlier_weights:
        model = None if evaluation.model == "llm" else evaluation.model
        return _none(
            name, f"the model has been trained since: {run.command('eval', split=evaluation.split, model=model)}"
        )
    streams = _streams(run, evaluation.model)
    if isinstance(cache, str) and not streams:
        return _none(name, cache)
    try:
        return _read(name, run, _open(run, cache, evaluation, streams), evaluation, sentences)
    except SltCacheError as error:
        return _none(name, str(error).rstrip("."))


def _streams(run: Run, model: str) -> Mapping[str, FeatureSpec]:
    """Returns the streams of a model that reads several."""
    record = whole_record(run.folder / model / "best")
    return {} if record is None else streams_of(record.settings)


def _open(run: Run, cache: CacheFile | str, evaluation: Evaluation, streams: Mapping[str, FeatureSpec]) -> CachedSplit:
    if not streams:
        return FeatureCache(cache, evaluation.split)
    from slt_cache.pipeline.evaluate import cached_streams

    found = cached_streams(run, evaluation.split, None, streams, evaluation.model)
    if found is None:
        raise InputError(f"the feature cache of a stream holds no split {evaluation.split}")
    return found


def _none(name: str, why: str) -> CrossAttention:
    return CrossAttention({}, name, f"{name.capitalize()} is not shown: {why}.")


def _read(
    name: str, run: Run, cache: CachedSplit, evaluation: Evaluation, sentences: Sequence[Sentence]
) -> CrossAttention:
    # Imported here: a report without a model, or without a cache, takes only a second.
    from slt_cache.decoding.attention import word_attentions
    from slt_cache.device import pick_device
    from slt_cache.pipeline.evaluate import load_translator

    translator, tokenizer, specs, _ = load_translator(run, evaluation.model)
    if isinstance(cache, FeatureCache):
        cache.require_spec(specs)
    translator.to(pick_device(run.config.compute.device))
    texts_of, languages_of = dict(zip(cache.ids, cache.texts, strict=True)), cache.languages
    known = [one for one in sentences if texts_of.get(one.clip_id) == one.reference]
    found: dict[str, WordAttention] = {}
    with progress_counter("attention of words", len(known), 0) as show:
        for first in range(0, len(known), CLIPS_AT_ONCE):
            part = known[first : first + CLIPS_AT_ONCE]
            features, texts = [cache[one.clip_id] for one in part], [one.hypothesis for one in part]
            languages = [languages_of.get(one.clip_id, "") for one in part]
            attended = word_attentions(translator, tokenizer, features, texts, languages=languages)
            found |= {one.clip_id: attention for one, attention in zip(part, attended, strict=True)}
            show(len(found))
    if len(known) == len(sentences):
        return CrossAttention(found, name)
    number = f"{len(known):,} of {len(sentences):,} clips"
    return CrossAttention(
        found, name, f"{name.capitalize()} is shown for {number}; the others are not in the feature cache."
    )
