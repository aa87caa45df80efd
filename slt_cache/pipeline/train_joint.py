"""Training of the LLM on pixels, with parts of the visual encoder: after stage 1 (Chen et al. 2024, table 9), or
without it (table 4; with a frozen ImageNet backbone table 5's second row). Uses no cache, since features in training
cannot be cached."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch.optim import Optimizer

from slt_cache.checkpoints.end_to_end import load_end_to_end, save_end_to_end, save_end_to_end_record
from slt_cache.checkpoints.named_files import encoder_settings
from slt_cache.checkpoints.record import Record, whole_record
from slt_cache.checkpoints.visual import VisualCheckpoint, load_visual, new_encoder, with_backbone
from slt_cache.config import CROSS_ENTROPY, EncoderConfig, FeaturesConfig, LlmTrainingConfig, differences
from slt_cache.corpora.base import of_split
from slt_cache.corpora.fraction import used_clips
from slt_cache.corpora.registry import language_code
from slt_cache.distributed.processes import join, main_process_first
from slt_cache.encoders.registry import find_backbone
from slt_cache.encoders.visual_encoder import VisualEncoder
from slt_cache.errors import InputError
from slt_cache.models.llm.quantize import require_quantization
from slt_cache.models.translators import VisualTranslator
from slt_cache.pipeline.init_encoder import initial_encoder
from slt_cache.pipeline.longer import require_begun
from slt_cache.pipeline.prepare import ensure_clips, require_split
from slt_cache.pipeline.prepare_llm import Llm, llm_of
from slt_cache.pipeline.probe import readable_clips
from slt_cache.pipeline.resources import require_resources
from slt_cache.pipeline.train_from_video import VideoStage, train_from_video
from slt_cache.runs.derived import Derived
from slt_cache.runs.run import Run
from slt_cache.runs.scoring import require_scoring
from slt_cache.runs.unfinished import BEST, Unfinished
from slt_cache.runs.unseeing import log_blind_encoder
from slt_cache.runs.variants import Variant, trained_by
from slt_cache.training.objectives.model import WithObjectives
from slt_cache.training.objectives.registry import require_gradient, require_sentence_encoder
from slt_cache.training.tasks.visual import joint_optimizer


def train_unfrozen(run: Run, restart: bool = False, allow_missing: bool = False) -> Record:
    """Trains stage 2 with `llm_training.unfreeze`: stage 1's encoder is trained further, in part or entirely."""
    visual = load_visual(run.visual / BEST)
    asked = {
        "video": run.config.video.recorded(),
        "encoder": encoder_settings(run.config.encoder, visual.record),
    }
    encoder = EncoderConfig.model_validate(visual.record.settings["encoder"])
    made = {"video": visual.video.recorded(), "encoder": encoder.recorded()}
    different = differences(made, asked)
    if different:
        raise InputError(f"{run.visual}: the encoder was trained with other settings ({'; '.join(different)}).")
    log_blind_encoder(run, "trains the encoder of stage 1 further")
    start = {"start": {"encoder_sha256": visual.sha256("sign")}}
    variant = trained_by("train-llm", run.config)
    return _train(run, variant, start, lambda: visual.model.encoder, restart, allow_missing)


def train_joint(run: Run, restart: bool = False, allow_missing: bool = False) -> Record:
    """Trains without stage 1: the encoder starts from `encoder.weights` and learns with the LLM from the first step;
    with `llm_training.unfreeze=temporal` its backbone stays frozen."""
    variant = trained_by("train-joint", run.config)
    return _train(run, variant, {}, lambda: _fresh_encoder(run), restart, allow_missing)


def _fresh_encoder(run: Run) -> VisualEncoder:
    return with_backbone(new_encoder(run.config.encoder, run.config.video), run.config.encoder.first_weights)


def _train(
    run: Run,
    variant: Variant,
    start: dict[str, Any],
    make_encoder: Callable[[], VisualEncoder],
    restart: bool,
    allow_missing: bool,
) -> Record:
    config, command = run.config, run.command(variant.command)
    require_quantization(config.llm.quantize, require_resources(run, config.llm_training))
    require_scoring(config)
    find_backbone(config.encoder.backbone)
    if config.features.level != "sign":
        raise InputError(
            f"features.level {config.features.level}: an encoder in training gives sign-wise features. Set it to sign."
        )
    loop = config.llm_training
    terms = loop.objective or (CROSS_ENTROPY,)
    require_gradient(terms, "llm_training.objective", loop.batch_size, frozen=loop.unfreeze == "temporal")
    require_sentence_encoder(terms, loop.objective_weights, config.llm.source)
    require_begun(run, run.folder / variant.name, command)
    join()
    clips = main_process_first(lambda: ensure_clips(run))
    used = used_clips(clips, config, config.of_stage_2.corpus.fraction)
    train_clips = require_split(run, used, "train")
    if restart or not _is_finished(
        run.folder / variant.name
    ):  # everything that may be refused, before an LLM is pre-trained
        make_encoder()
        if not start and (restart or Unfinished(run.folder / variant.name).record is None):
            initial_encoder(config.encoder, None, None)
        readable_clips(run, [*train_clips, *of_split(clips, "dev")], allow_missing, command)
    with Derived(run, command, restart) as derived:
        llm = llm_of(run, clips, derived, dim=config.encoder.dim, variant=variant)
        stage = JointStage(run.of_stage_2, variant, derived, used, llm.tokenizer, llm, start, make_encoder)
        return train_from_video(stage, restart, allow_missing)


def _is_finished(folder: Path) -> bool:
    record = whole_record(folder / BEST)
    return record is not None and record.finished


@dataclass(frozen=True)
class JointStage(VideoStage):
    """Stage that trains visual encoder and LLM together."""

    llm: Llm
    start: dict[str, Any]
    """Encoder that it starts from, for the record."""
    make_encoder: Callable[[], VisualEncoder]

    @property
    def loop(self) -> LlmTrainingConfig:
        return self.run.config.llm_training

    @property
    def own_settings(self) -> dict[str, Any]:
        return {**self.start, **self.llm.made_of, "llm_training": self.loop.recorded()}

    @property
    def objective(self) -> tuple[tuple[str, ...], Mapping[str, float]]:
        return self.loop.objective or (CROSS_ENTROPY,), self.loop.objective_weights

    def initialize(self, model: VisualTranslator) -> list[str]:
        """Loads the encoder of another run, unless that of stage 1 is trained further."""
        lines = self.llm.begins(clip.text for clip in self.train_clips)
        initial = None if self.start else initial_encoder(self.run.config.encoder, None, None)
        return lines if initial is None else [initial.load_into(model), *lines]

    def make_model(self) -> VisualTranslator:
        encoder = self.make_encoder()
        translator = self.llm.translator(encoder.dim, **self.loop.of_translator)
        model = VisualTranslator(encoder, translator)
        if self.loop.unfreeze == "temporal":
            model.freeze(encoder.backbone)
        return model

    def make_optimizer(self, model: VisualTranslator | WithObjectives) -> Optimizer:
        return joint_optimizer(model, self.loop)

    def save(self, folder: Path, model: VisualTranslator, record: Record) -> None:
        config = self.run.config
        spec = VisualCheckpoint(model, self.tokenizer, record).spec(FeaturesConfig(), config.augmentation)
        settings = {**record.settings, "features": spec.to_json(), "language": language_code(config)}
        save_end_to_end(folder, model, self.tokenizer, record, replace(record, settings=settings, finished=True))

    def load(self, best: Path) -> VisualTranslator:
        return load_end_to_end(best, self.command).model

    def save_record(self, folder: Path, record: Record) -> None:
        save_end_to_end_record(folder, record)
