"""Stage 2 as a command: feature cache in, `llm/` of the run folder out. Opens no video."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from slt_cache.batches.features import require_positions
from slt_cache.checkpoints.record import Record
from slt_cache.config import CROSS_ENTROPY, Config, LlmTrainingConfig
from slt_cache.corpora.base import Clip
from slt_cache.distributed.processes import join, main_process_first
from slt_cache.errors import InputError
from slt_cache.features.spec import IMPORTED
from slt_cache.features.streams import CachedSplit, StreamSplit, whole_of
from slt_cache.models.adapter import fused_steps
from slt_cache.models.llm.quantize import require_quantization
from slt_cache.models.translators import SignTranslator
from slt_cache.pipeline.longer import require_begun
from slt_cache.pipeline.prepare import ensure_clips
from slt_cache.pipeline.prepare_llm import Llm, llm_of
from slt_cache.pipeline.resources import require_resources
from slt_cache.pipeline.run_stage import run_stage
from slt_cache.pipeline.train_from_cache import CacheSplits, CacheStage, open_splits
from slt_cache.runs.derived import Derived
from slt_cache.runs.run import Run
from slt_cache.runs.scoring import require_scoring
from slt_cache.runs.streams import Caches
from slt_cache.runs.unseeing import log_blind_encoder
from slt_cache.runs.variants import LLM, SCRATCH, Variant
from slt_cache.text.families import is_made_here, small_positions
from slt_cache.text.tokenizer import Tokenizer
from slt_cache.training.objectives.registry import of_stage_2, require_gradient, require_sentence_encoder

Watch = Callable[[int, Mapping[str, float]], None]
"""Function of epoch and dev scores that is called after each evaluation; it may raise to end the training there."""


def train_llm(run: Run, cache: Caches, restart: bool = False, watch: Watch | None = None) -> Record:
    """Fine-tunes adapter and LLM on the train split of the cache, or of those of several streams; dev selects the
    weights to keep."""
    variant, splits, clips = _inputs(run, cache)
    if not splits.train.is_imported and _needs_stage_1(run, whole_of(splits.train)):
        log_blind_encoder(run, "reads the features of stage 1")
    with Derived(run, run.command("train-llm"), restart) as derived:
        llm = _llm(run, variant, splits, clips, derived)
        return run_stage(LlmStage(run.of_stage_2, variant, derived, splits, llm.tokenizer, llm, watch), restart)


def make_llm(run: Run, cache: Caches) -> None:
    """Makes the tokenizer, trimmed and pre-trained LLM with which `train_llm` would begin, and trains no further."""
    variant, splits, clips = _inputs(run, cache)
    with Derived(run, run.command("train-llm"), restart=False) as derived:
        _llm(run, variant, splits, clips, derived)
        derived.keep()


def _inputs(run: Run, cache: Caches) -> tuple[Variant, CacheSplits, list[Clip]]:
    """Returns which model is trained, on which splits, and the clips whose sentences the LLM is made for. Whatever the
    training needs must not fail after an LLM was pre-trained, or after the first epoch."""
    config = run.config
    require_quantization(config.llm.quantize, require_resources(run, config.llm_training))
    require_scoring(config)
    setting, terms, weights = of_stage_2(config)
    require_gradient(terms, setting, config.llm_training.batch_size, frozen=True)
    require_sentence_encoder(terms, weights, config.llm.source)
    variant = LLM if config.llm.pretrained else SCRATCH
    require_begun(run, run.folder / variant.name, run.command("train-llm"))
    join()
    splits = open_splits(run, cache)
    return variant, splits, main_process_first(lambda: _clips(run, whole_of(splits.train)))


def _llm(run: Run, variant: Variant, splits: CacheSplits, clips: Sequence[Clip], derived: Derived) -> Llm:
    whole = whole_of(splits.train)
    return llm_of(
        run,
        clips,
        derived,
        dim=whole.dim,
        streams=list(whole.streams) if isinstance(whole, StreamSplit) else [],
        variant=variant,
        check=_check_of_small(run.config, splits.train),
    )


@dataclass(frozen=True)
class LlmStage(CacheStage):
    """Stage 2: adapter and LLM (Chen et al. 2024, 4.3)."""

    llm: Llm
    watch: Watch | None = None

    def evaluated(self, epoch: int, scores: Mapping[str, float]) -> None:
        if self.watch is not None:
            self.watch(epoch, scores)

    @property
    def loop(self) -> LlmTrainingConfig:
        return self.run.config.llm_training

    @property
    def lrs(self) -> tuple[float, float]:
        return self.loop.lr, self.loop.adapter_lr

    @property
    def objective(self) -> tuple[tuple[str, ...], Mapping[str, float]]:
        return of_stage_2(self.run.config)[1:]

    @property
    def own_settings(self) -> dict[str, Any]:
        names, weights = self.objective
        inherited = self.loop.objective is None and names != (CROSS_ENTROPY,)
        return {
            "tokenizer_sha256": self.tokenizer.sha256,
            **self.llm.made_of,
            "llm_training": self.loop.recorded(),
            **({"objective": {"terms": list(names), "weights": dict(weights)}} if inherited else {}),
        }

    def initialize(self, model: SignTranslator) -> list[str]:
        return self.llm.begins(self.splits.train.texts)

    def make_model(self) -> SignTranslator:
        return self.llm.translator(self.splits.train.dim, **self.loop.of_translator)


def _check_of_small(config: Config, split: CachedSplit) -> Callable[[Tokenizer], None]:
    """Returns a check of a small LLM's positions, before it is made."""
    training = config.llm_training
    stride = 1 if training.temporal is None else training.temporal.stride
    steps = fused_steps(split.lengths, stride, training.stream_fusion)
    return partial(require_positions, split, small_positions(config.llm.source), steps=steps)


def _clips(run: Run, train_split: CachedSplit) -> list[Clip]:
    """Returns the clips whose sentences determine the LLM's vocabulary: those of the manifest, as in stage 1, or those
    of the cache for features made elsewhere."""
    if train_split.is_imported:
        clips = zip(train_split.ids, train_split.texts, train_split.origins, strict=True)
        return [
            Clip(clip_id, "train", Path(), None, None, text, corpus=origin.corpus, language=origin.language)
            for clip_id, text, origin in clips
        ]
    if is_made_here(run.config.llm.source) and _needs_stage_1(run, train_split) and not run.tokenizer.is_dir():
        first = run.command("train-visual")
        raise InputError(f"{run.tokenizer}: no tokenizer yet. Train stage 1 first: {first}")
    return ensure_clips(run)


def _needs_stage_1(run: Run, train_split: CachedSplit) -> bool:
    """Returns whether features come from the run's stage 1, which makes the tokenizer. Streams say where they are
    from."""
    if isinstance(train_split, StreamSplit):
        return any(spec.encoder is None and spec.level != IMPORTED for spec in train_split.specs.values())
    return run.config.encoder.name is None
