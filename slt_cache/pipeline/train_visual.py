"""Stage 1 as a command: clips in, `visual/` of the run folder out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.optim import Optimizer

from slt_cache.checkpoints.record import Record
from slt_cache.checkpoints.visual import load_visual, new_visual_translator, save_visual
from slt_cache.config import VisualTrainingConfig
from slt_cache.distributed.processes import join, main_process_first
from slt_cache.encoders.registry import find_backbone
from slt_cache.models.translators import VisualTranslator
from slt_cache.pipeline.prepare import ensure_clips, require_split
from slt_cache.pipeline.prepare_llm import ensure_tokenizer
from slt_cache.pipeline.resources import require_resources
from slt_cache.pipeline.train_from_video import VideoStage, train_from_video
from slt_cache.runs.derived import Derived
from slt_cache.runs.outdated import log_outdated_by_stage_1
from slt_cache.runs.run import Run
from slt_cache.runs.scoring import preset_of
from slt_cache.runs.variants import VISUAL
from slt_cache.training.tasks.visual import visual_optimizer


def train_visual(run: Run, restart: bool = False, allow_missing: bool = False) -> Record:
    """Trains the visual encoder with Light-T, or returns the record of a finished training. `allow_missing` leaves out
    unreadable clips."""
    # Before the corpus is drawn and an epoch trained: a mistyped device or missing preset must fail at once.
    require_resources(run, run.config.visual_training)
    preset_of(run.config)
    find_backbone(run.config.encoder.backbone)
    join()
    clips = main_process_first(lambda: ensure_clips(run))
    require_split(run, clips, "train")
    with Derived(run, run.command("train-visual"), restart) as derived:
        tokenizer = main_process_first(lambda: ensure_tokenizer(run, clips, derived))
        record = train_from_video(VisualStage(run, VISUAL, derived, clips, tokenizer), restart, allow_missing)
    log_outdated_by_stage_1(run)
    return record


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
    def keep_epochs(self) -> tuple[int, ...]:
        return self.loop.keep_epochs

    def make_model(self) -> VisualTranslator:
        config = self.run.config
        return new_visual_translator(config.encoder, config.video, config.light_t, self.tokenizer)

    def make_optimizer(self, model: VisualTranslator) -> Optimizer:
        return visual_optimizer(model, self.loop)

    def save(self, folder: Path, model: VisualTranslator, record: Record) -> None:
        save_visual(folder, model, self.tokenizer, record)

    def load(self, best: Path) -> VisualTranslator:
        return load_visual(best).model
