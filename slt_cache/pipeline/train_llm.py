"""Stage 2 as a command: feature cache in, `llm/` of the run folder out. Opens no video."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from slt_cache.batches.features import require_positions
from slt_cache.checkpoints.record import Record
from slt_cache.config import Config, LlmTrainingConfig
from slt_cache.corpora.base import Clip
from slt_cache.distributed.processes import join, main_process_first
from slt_cache.errors import InputError
from slt_cache.features.cache import FeatureCache
from slt_cache.features.spec import IMPORTED
from slt_cache.models.llm.quantize import require_quantization
from slt_cache.models.translators import SignTranslator
from slt_cache.pipeline.longer import require_begun
from slt_cache.pipeline.prepare import ensure_clips
from slt_cache.pipeline.prepare_llm import Llm, llm_of
from slt_cache.pipeline.resources import require_resources
from slt_cache.pipeline.run_stage import run_stage
from slt_cache.pipeline.train_from_cache import CacheStage, open_splits
from slt_cache.runs.derived import Derived
from slt_cache.runs.run import Run
from slt_cache.runs.scoring import preset_of
from slt_cache.runs.variants import LLM, SCRATCH
from slt_cache.text.families import is_made_here, small_positions


def train_llm(run: Run, cache: Path, restart: bool = False) -> Record:
    """Fine-tunes adapter and LLM on the cache's train split; dev selects the weights to keep."""
    config = run.config
    # Whatever the training needs must not fail after an LLM was pre-trained, or after the first epoch.
    require_quantization(config.llm.quantize, require_resources(run, config.llm_training))
    preset_of(config)
    variant, command = LLM if config.llm.pretrained else SCRATCH, run.command("train-llm")
    require_begun(run, run.folder / variant.name, command)
    join()
    splits = open_splits(run, cache)
    clips = main_process_first(lambda: _clips(run, splits.train))
    fits = partial(require_positions, splits.train, _positions_of_small(config))
    with Derived(run, command, restart) as derived:
        llm = llm_of(run, clips, derived, dim=splits.train.dim, saves=config.llm.pretrained, check=fits)
        return run_stage(LlmStage(run.of_stage_2, variant, derived, splits, llm.tokenizer, llm), restart)


@dataclass(frozen=True)
class LlmStage(CacheStage):
    """Stage 2: adapter and LLM (Chen et al. 2024, 4.3)."""

    llm: Llm

    @property
    def loop(self) -> LlmTrainingConfig:
        return self.run.config.llm_training

    @property
    def lrs(self) -> tuple[float, float]:
        return self.loop.lr, self.loop.adapter_lr

    @property
    def own_settings(self) -> dict[str, Any]:
        return {
            "tokenizer_sha256": self.tokenizer.sha256,
            **self.llm.made_of,
            "llm_training": self.loop.recorded(),
        }

    def initialize(self, model: SignTranslator) -> list[str]:
        return self.llm.begins(self.splits.train.texts)

    def make_model(self) -> SignTranslator:
        return self.llm.translator(self.splits.train.dim, **self.loop.of_translator)


def _positions_of_small(config: Config) -> int | None:
    """Returns the number of steps of features that a small LLM has positions for, before it is made."""
    positions, temporal = small_positions(config.llm.source), config.llm_training.temporal
    return positions if positions is None or temporal is None else positions * temporal.stride


def _clips(run: Run, train_split: FeatureCache) -> list[Clip]:
    """Returns the clips whose sentences determine the LLM's vocabulary: those of the manifest, as in stage 1, or those
    of the cache for features made elsewhere."""
    if train_split.spec.level == IMPORTED:
        texts = zip(train_split.ids, train_split.texts, strict=True)
        return [Clip(clip_id, "train", Path(), None, None, text) for clip_id, text in texts]
    if is_made_here(run.config.llm.source) and run.config.encoder.name is None and not run.tokenizer.is_dir():
        first = run.command("train-visual")
        raise InputError(f"{run.tokenizer}: no tokenizer yet. Train stage 1 first: {first}")
    return ensure_clips(run)
