"""Stage 1 as a command: clips in, `visual/` of the run folder out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer

from slt_cache.batches.clips import frame_counts
from slt_cache.batches.sampler import ShortFirst
from slt_cache.checkpoints.record import Record, whole_record
from slt_cache.checkpoints.visual import load_visual, new_visual_translator, save_visual
from slt_cache.config import VisualTrainingConfig
from slt_cache.corpora.base import Clip
from slt_cache.corpora.fraction import used_clips
from slt_cache.distributed.processes import join, main_process_first
from slt_cache.encoders.registry import find_backbone
from slt_cache.models.time_masks import TimeMasks
from slt_cache.models.translators import VisualTranslator
from slt_cache.pipeline.init_encoder import initial_encoder
from slt_cache.pipeline.llm_tokenizer import ensure_tokenizer
from slt_cache.pipeline.longer import require_begun
from slt_cache.pipeline.prepare import ensure_clips, require_split
from slt_cache.pipeline.resources import require_resources
from slt_cache.pipeline.train_from_video import VideoStage, train_from_video
from slt_cache.runs.derived import Derived
from slt_cache.runs.outdated import log_outdated_by_stage_1
from slt_cache.runs.run import Run
from slt_cache.runs.scoring import require_scoring
from slt_cache.runs.unfinished import BEST
from slt_cache.runs.variants import VISUAL
from slt_cache.text.tokenizer import Tokenizer, without_prompt
from slt_cache.training.objectives.registry import require_gradient
from slt_cache.training.task import LAST
from slt_cache.training.tasks.visual import visual_optimizer


def train_visual(run: Run, restart: bool = False, allow_missing: bool = False) -> Record:
    """Trains the visual encoder with Light-T, or returns the record of a finished training. `allow_missing` leaves out
    unreadable clips."""
    # Before the corpus is drawn and an epoch trained: a mistyped device or missing preset must fail at once.
    require_resources(run, run.config.visual_training)
    require_scoring(run.config)
    find_backbone(run.config.encoder.backbone)
    loop = run.config.visual_training
    require_gradient(loop.objective, "visual_training.objective", loop.batch_size, frozen=False)
    require_begun(run, run.visual, run.command("train-visual"))
    join()
    clips = main_process_first(lambda: ensure_clips(run))
    require_split(run, clips, "train")
    with Derived(run, run.command("train-visual"), restart) as derived:
        tokenizer = main_process_first(lambda: _tokenizer(run, clips, derived))
        used = used_clips(clips, run.config, run.config.corpus.fraction)
        record = train_from_video(VisualStage(run, VISUAL, derived, used, tokenizer), restart, allow_missing)
    log_outdated_by_stage_1(run)
    return record


def _tokenizer(run: Run, clips: Sequence[Clip], derived: Derived) -> Tokenizer:
    """Returns the tokenizer of the run's LLM without its prompt. Stage 1 keeps the one that it was trained with before
    llm.init_from was set."""
    tokenizer, llm = ensure_tokenizer(run, clips, derived).for_light_t(), run.config.llm
    if llm.init_from is None:
        return tokenizer
    made = whole_record(run.visual / BEST) or whole_record(run.visual / LAST)
    if made is not None and not derived.restart and made.settings["tokenizer"]["sha256"] != tokenizer.sha256:
        own = llm.model_copy(update={"init_from": None, "init_without": ()})
        own_run = replace(run, config=run.config.model_copy(update={"llm": own}))
        return ensure_tokenizer(own_run, clips, derived).for_light_t()
    return without_prompt(tokenizer.inner, tokenizer.inner.name_or_path, tokenizer.language).for_light_t()


@dataclass(frozen=True)
class VisualStage(VideoStage):
    """Stage 1: visual encoder and Light-T (Chen et al. 2024, 4.2)."""

    @property
    def loop(self) -> VisualTrainingConfig:
        return self.run.config.visual_training

    @property
    def own_settings(self) -> dict[str, Any]:
        return {
            "light_t": self.run.config.light_t.model_dump(mode="json"),
            "visual_training": self.loop.recorded(),
        }

    @property
    def objective(self) -> tuple[tuple[str, ...], Mapping[str, float]]:
        return self.loop.objective, self.loop.objective_weights

    @property
    def regularizers(self) -> dict[str, Any]:
        short_first = None
        if self.loop.curriculum == "short-first":
            lengths = frame_counts(self.train_clips, self.run.config.video)
            short_first = ShortFirst(lengths, self.loop.curriculum_epochs)
        return {"frame_dropout": self.loop.frame_dropout, "short_first": short_first}

    @property
    def keep_epochs(self) -> tuple[int, ...]:
        return self.loop.keep_epochs

    def initialize(self, model: VisualTranslator) -> list[str]:
        initial = initial_encoder(self.run.config.encoder, self.run.config.light_t, self.tokenizer)
        return [] if initial is None else [initial.load_into(model)]

    def make_model(self) -> VisualTranslator:
        config = self.run.config
        model = new_visual_translator(config.encoder, config.video, config.light_t, self.tokenizer)
        if self.loop.time_masks:
            model.translator.time_masks = TimeMasks(self.loop.time_masks, self.loop.time_mask_width)
        return model

    def make_optimizer(self, model: nn.Module) -> Optimizer:
        return visual_optimizer(model, self.loop)

    def save(self, folder: Path, model: VisualTranslator, record: Record) -> None:
        save_visual(folder, model, self.tokenizer, record)

    def load(self, best: Path) -> VisualTranslator:
        return load_visual(best).model
