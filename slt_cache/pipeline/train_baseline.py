"""Light-T baseline of a stage-2 score: stage 1's Light-T, trained further on the same cache."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slt_cache.checkpoints.record import Record, different_settings, read_record
from slt_cache.checkpoints.visual import VisualCheckpoint, light_t_translator, load_visual
from slt_cache.config import LightTConfig, OptimizerConfig
from slt_cache.features.cache import FeatureCache
from slt_cache.features.streams import CachedSplit
from slt_cache.models.translators import SignTranslator
from slt_cache.pipeline.run_stage import run_stage
from slt_cache.pipeline.train_from_cache import CacheStage, cache_settings, open_splits, used_part
from slt_cache.runs.run import Run
from slt_cache.runs.unfinished import BEST
from slt_cache.runs.variants import BASELINE


def train_baseline(run: Run, cache: Path) -> Record:
    """Trains a Light-T on the cache for all of stage 2's epochs, without early stopping: that of stage 1 or, for
    features other than the sign-wise ones it reads, a new one of its size with stage 1's epochs added. Epochs rather
    than seconds make the score reproducible. It is trained again if its settings, such as the cache, have changed."""
    splits, visual = open_splits(run, cache), load_visual(run.visual / BEST)
    stage = BaselineStage(run, BASELINE, None, splits, visual.tokenizer, visual)
    made = (read_record(stage.folder / BEST), stage.unfinished.record)
    restart = not any(record is not None and not different_settings(record, stage.settings) for record in made)
    return run_stage(stage, restart)


def has_baseline(run: Run, cache: Path) -> bool:
    """Returns whether the baseline is trained on this cache with these settings."""
    made = read_record(run.folder / BASELINE.name / BEST)
    if made is None or not made.finished:
        return False
    train_split = used_part(run, FeatureCache(cache, "train"))
    return not different_settings(made, {**cache_settings(run, train_split), **_settings(run, train_split)})


@dataclass(frozen=True)
class BaselineStage(CacheStage):
    """Stage of the Light-T baseline: adapter and Light-T."""

    visual: VisualCheckpoint

    @property
    def loop(self) -> OptimizerConfig:
        return _loop(self.run, self.splits.train)

    @property
    def lrs(self) -> tuple[float, float]:
        return self.loop.lr, self.loop.lr

    @property
    def own_settings(self) -> dict[str, Any]:
        return _settings(self.run, self.splits.train)

    def make_model(self) -> SignTranslator:
        if _is_read_by_stage_1(self.splits.train):
            return self.visual.model.translator
        light_t = LightTConfig.model_validate(self.visual.record.settings["light_t"])
        return light_t_translator(self.splits.train.spec.dim, light_t, self.tokenizer)


def _is_read_by_stage_1(train_split: CachedSplit) -> bool:
    return train_split.spec.level == "sign"


def _loop(run: Run, train_split: CachedSplit) -> OptimizerConfig:
    config = run.config
    more = 0 if _is_read_by_stage_1(train_split) else config.visual_training.epochs
    shared = {name: getattr(config.llm_training, name) for name in OptimizerConfig.model_fields}
    own = {"patience": None, "epochs": config.llm_training.epochs + more, "lr": config.control.lr}
    return OptimizerConfig(**{**shared, **own})


def _settings(run: Run, train_split: CachedSplit) -> dict[str, Any]:
    """Returns the settings that determine its weights: of stage 2's, those of the loop and the batches."""
    training = run.config.llm_training
    return {
        "loop": _loop(run, train_split).recorded(),
        "length_buckets": training.length_buckets,
        "evaluate_every": training.evaluate_every,
    }
