"""The LLM trained from pixels, with parts of the visual encoder: behind stage 1 (Chen et al. 2024, table 9), or without
it (table 4; with a frozen ImageNet backbone table 5's second row). Uses no cache: what learns cannot be cached."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from slt_cache.checkpoints.end_to_end import load_end_to_end, save_end_to_end, save_end_to_end_record
from slt_cache.checkpoints.named_files import content_of
from slt_cache.checkpoints.record import Record, whole_record
from slt_cache.checkpoints.visual import VisualCheckpoint, load_visual, new_encoder, with_backbone
from slt_cache.config import EncoderConfig, FeaturesConfig, differences
from slt_cache.corpora.base import of_split
from slt_cache.corpora.registry import language_code
from slt_cache.distributed.processes import join, main_process_first
from slt_cache.encoders.registry import find_backbone
from slt_cache.encoders.visual_encoder import VisualEncoder
from slt_cache.errors import InputError
from slt_cache.models.translators import SignTranslator, VisualTranslator
from slt_cache.pipeline.feature_spec import feature_spec
from slt_cache.pipeline.prepare import ensure_clips, require_split
from slt_cache.pipeline.prepare_llm import llm_of
from slt_cache.pipeline.probe import readable_clips
from slt_cache.pipeline.stages import require_resources
from slt_cache.pipeline.train_from_video import PixelTraining, train_from_pixels
from slt_cache.runs.derived import Derived
from slt_cache.runs.run import Run
from slt_cache.runs.scoring import preset_of
from slt_cache.runs.unfinished import BEST
from slt_cache.text.tokenizer import Tokenizer
from slt_cache.training.tasks.visual import joint_optimizer


def train_unfrozen(run: Run, restart: bool = False, allow_missing: bool = False) -> Record:
    """Stage 2 with `llm_training.unfreeze`: the encoder of stage 1 goes on learning, in part or whole."""
    visual = load_visual(run.visual / "best")
    weights = content_of(run.config.encoder.weights, visual.record)
    asked = {
        "video": run.config.video.recorded(),
        "encoder": {**run.config.encoder.recorded(), "weights": weights},
    }
    encoder = EncoderConfig.model_validate(visual.record.settings["encoder"])
    made = {"video": visual.video.recorded(), "encoder": encoder.recorded()}
    different = differences(made, asked)
    if different:
        raise InputError(f"{run.visual}: the encoder was trained with other settings ({'; '.join(different)}).")
    start = {"start": {"encoder_sha256": visual.sha256("sign")}}
    return _train(run, run.unfrozen, "train-llm", start, lambda: visual.model.encoder, restart, allow_missing)


def train_joint(run: Run, restart: bool = False, allow_missing: bool = False) -> Record:
    """No stage 1: the encoder begins as `encoder.weights` says, and learns with the LLM from the first step; with
    `llm_training.unfreeze=temporal` its backbone stays as it began."""
    config = run.config

    def make_encoder() -> VisualEncoder:
        return with_backbone(new_encoder(config.encoder, config.video), config.encoder.weights)

    return _train(run, run.joint, "train-joint", {}, make_encoder, restart, allow_missing)


def _train(
    run: Run,
    folder: Path,
    command: str,
    start: dict[str, Any],
    make_encoder: Callable[[], VisualEncoder],
    restart: bool,
    allow_missing: bool,
) -> Record:
    config = run.config
    require_resources(run, config.llm_training)
    preset_of(config)
    find_backbone(config.encoder.backbone)
    if config.features.level != "sign":
        raise InputError(
            f"features.level {config.features.level}: an encoder that learns gives sign-wise features. Set it to sign."
        )
    join()
    clips = main_process_first(lambda: ensure_clips(run))
    train_clips = require_split(run, clips, "train")
    if restart or not _is_finished(folder):  # all that can be refused, before an LLM is trimmed or pre-trained
        make_encoder()
        readable_clips(run, [*train_clips, *of_split(clips, "dev")], allow_missing, run.command(command))
    with Derived(run, run.command(command), restart) as derived:
        tokenizer, made_of, make_llm = llm_of(run, clips, derived, saves=False)
        settings = {**start, **made_of, "llm_training": config.llm_training.recorded()}
        run = run.of_stage_2
        plan = _plan(run, folder, command, settings, tokenizer, make_encoder, make_llm, derived)
        return train_from_pixels(run, clips, plan, restart, allow_missing)


def _is_finished(folder: Path) -> bool:
    record = whole_record(folder / BEST)
    return record is not None and record.finished


def _plan(
    run: Run,
    folder: Path,
    command: str,
    settings: dict[str, Any],
    tokenizer: Tokenizer,
    make_encoder: Callable[[], VisualEncoder],
    make_llm: Callable[[], Any],
    derived: Derived,
) -> PixelTraining:
    config = run.config

    def make_model() -> VisualTranslator:
        encoder = make_encoder()
        dropouts = config.llm_training.dropouts
        model = VisualTranslator(encoder, SignTranslator(encoder.dim, make_llm(), tokenizer.start, **dropouts))
        if config.llm_training.unfreeze == "temporal":
            model.freeze(encoder.backbone)
        return model

    def save(best: Path, model: VisualTranslator, record: Record) -> None:
        spec = feature_spec(VisualCheckpoint(model, tokenizer, record), FeaturesConfig(), config.augmentation)
        settings = {**record.settings, "features": spec.to_json(), "language": language_code(config)}
        save_end_to_end(best, model, tokenizer, record, replace(record, settings=settings, finished=True))

    return PixelTraining(
        name=folder.name,
        folder=folder,
        command=run.command(command),
        settings=settings,
        loop=config.llm_training,
        tokenizer=tokenizer,
        make_model=make_model,
        make_optimizer=partial(joint_optimizer, settings=config.llm_training),
        save=save,
        load=lambda best: load_end_to_end(best, run.command(command)).model,
        save_record=save_end_to_end_record,
        keep=derived.keep,
    )
