"""A training from pixels as a step of the pipeline: stage 1, and the LLM where parts of the encoder learn with it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer

from slt_cache.batches.clips import clip_loader
from slt_cache.batches.sampler import Share
from slt_cache.checkpoints.named_files import content_of
from slt_cache.checkpoints.record import Record, different_settings, is_same_training, read_record, whole_record
from slt_cache.config import GenerationConfig, LlmTrainingConfig, VisualTrainingConfig
from slt_cache.corpora.base import Clip, of_split
from slt_cache.corpora.fingerprint import manifest_sha256, videos_sha256
from slt_cache.corpora.registry import language_code
from slt_cache.decoding.encode import encode, packed, usable
from slt_cache.decoding.search import decode, gather_hypotheses
from slt_cache.device import pick_device
from slt_cache.distributed.processes import rank, shard, size
from slt_cache.encoders.frozen import FrozenEncoder
from slt_cache.models.translators import VisualTranslator
from slt_cache.pipeline.open_frame_cache import open_frame_cache
from slt_cache.pipeline.prepare import require_split
from slt_cache.pipeline.probe import readable_clips
from slt_cache.pipeline.stages import Attempt, RecordOf, Stage, train_task, training_stage
from slt_cache.pipeline.trained_clips import explain_change, write_clips
from slt_cache.pipeline.visual_training import warn_of_memory, with_passes
from slt_cache.progress import progress_counter
from slt_cache.runs.run import Run
from slt_cache.runs.scoring import rounded, score_hypotheses
from slt_cache.runs.unfinished import BEST
from slt_cache.text.tokenizer import Tokenizer
from slt_cache.training.state import TrainerState
from slt_cache.training.task import LAST
from slt_cache.training.tasks.visual import FromPixelsTask
from slt_cache.video.chunks import PieceReader, plain
from slt_cache.video.reader_pool import read_ahead


@dataclass(frozen=True)
class PixelTraining:
    """What differs between the trainings that read videos."""

    name: str
    folder: Path
    command: str
    settings: dict[str, Any]
    """What the weights depend on beside videos, clips and seed."""
    loop: VisualTrainingConfig | LlmTrainingConfig
    tokenizer: Tokenizer
    make_model: Callable[[], VisualTranslator]
    make_optimizer: Callable[[VisualTranslator], Optimizer]
    save: Callable[[Path, VisualTranslator, Record], None]
    """Writes the weights into a folder."""
    load: Callable[[Path], VisualTranslator]
    """Reads the weights from a folder."""
    save_record: Callable[[Path, Record], None]
    """Replaces the record of the weights in a folder."""
    keep: Callable[[], None]
    """Puts the tokenizer or the LLM that was made for the training in its place."""
    keep_epochs: tuple[int, ...] = ()
    """Epochs whose weights are kept beside the best ones."""


def epoch_folder(folder: Path, epoch: int) -> Path:
    """Where the weights of one epoch are kept, in the folder of a training."""
    return folder / "epochs" / str(epoch)


def train_from_pixels(
    run: Run, clips: Sequence[Clip], plan: PixelTraining, restart: bool, allow_missing: bool = False
) -> Record:
    """Trains into `plan.folder`, or says how that was done before; dev decides which weights are kept. With
    `allow_missing` it goes without the clips that cannot be read."""
    config, tokenizer = run.config, plan.tokenizer
    train_clips, dev_clips = require_split(run, clips, "train"), of_split(clips, "dev")
    settings = _settings(run, plan, train_clips)
    if restart or not _is_finished(plan.folder, settings, _dev_sha256(plan.folder, dev_clips)):
        readable = readable_clips(run, [*train_clips, *dev_clips], allow_missing, plan.command)
        train_clips, dev_clips = require_split(run, readable, "train"), of_split(readable, "dev")
        settings = _settings(run, plan, train_clips)

    def work(attempt: Attempt) -> TrainerState:
        def make_task(device: torch.device, record_of: RecordOf) -> FromPixelsTask:
            model = with_passes(plan.make_model(), config)
            warn_of_memory(model, config, plan.loop, train_clips, device)
            loader = clip_loader(
                train_clips,
                config.video,
                tokenizer,
                batch_size=plan.loop.batch_size,
                workers=config.compute.workers,
                seed=config.seed,
                augmentation=config.augmentation,
                frame_cache=open_frame_cache(run, train_clips),
                pinned=device.type == "cuda",
                share=Share(rank(), size()),
            )

            def evaluate() -> dict[str, float]:
                return _dev_scores(run, model, device, dev_clips, tokenizer, config.generation.on_dev)

            def save_best(epoch: int, dev: dict[str, float]) -> None:
                plan.save(attempt.best, model, record_of(epoch, dev))

            def epoch_ended(epoch: int) -> None:
                if epoch in plan.keep_epochs:
                    kept = replace(record_of(epoch, {}), finished=True)
                    plan.save(epoch_folder(plan.folder / LAST, epoch), model, kept)

            optimizer = partial(plan.make_optimizer, model)
            return FromPixelsTask(plan.name, model, loader, optimizer, evaluate, save_best, epoch_ended)

        return train_task(run, plan.loop, attempt, make_task, plan.loop.evaluate_every)

    def score(best: Path, beams: int) -> dict[str, float]:
        device = pick_device(config.compute.device)
        generation = config.generation.model_copy(update={"num_beams": beams})
        return _dev_scores(run, plan.load(best).to(device), device, dev_clips, tokenizer, generation)

    stage = Stage(
        plan.name,
        plan.folder,
        plan.command,
        settings,
        beams=config.generation.num_beams,
        dev_sha256=_dev_sha256(plan.folder, dev_clips),
        score=score,
        save_record=plan.save_record,
        describe=lambda folder: write_clips(folder, train_clips),
        explain=lambda folder: explain_change(run, folder, train_clips),
        keep=plan.keep,
    )
    before = whole_record(stage.folder / BEST)
    record = training_stage(stage, restart, work)
    run.save_config(run.stage_in(stage.folder), trained=not is_same_training(before, record))
    return record


def _settings(run: Run, plan: PixelTraining, train_clips: Sequence[Clip]) -> dict[str, Any]:
    """Everything that decides the weights."""
    config, done = run.config, whole_record(plan.folder / BEST)
    return {
        "seed": config.seed,
        "video": config.video.recorded(),
        "augmentation": config.augmentation.recorded(),
        "encoder": {**config.encoder.recorded(), "weights": content_of(config.encoder.weights, done)},
        **plan.settings,
        "tokenizer": {"language": language_code(config), "sha256": plan.tokenizer.sha256},
        "manifest_sha256": manifest_sha256(train_clips),
        "videos_sha256": _videos_sha256(plan.folder, train_clips),
    }


def _videos_sha256(folder: Path, clips: Sequence[Clip]) -> str | None:
    """Over what the videos hold. Those of a finished training have not changed by being gone or having moved."""
    found = videos_sha256(clips)
    done = read_record(folder / BEST) if found is None else None
    return found if done is None else done.settings.get("videos_sha256")


def _is_finished(folder: Path, settings: dict[str, Any], dev_sha256: str | None) -> bool:
    """Whether there is nothing to train or to score, and so no video to open."""
    done = read_record(folder / BEST)
    return done is not None and done.dev_sha256 in (None, dev_sha256) and not different_settings(done, settings)


def _dev_sha256(folder: Path, dev_clips: Sequence[Clip]) -> str | None:
    """Identity of the clips of dev and of what their videos hold, which have not changed by being gone."""
    if not dev_clips:
        return None
    listed, held = manifest_sha256(dev_clips), videos_sha256(dev_clips)
    done = whole_record(folder / BEST) if held is None else None
    if done is not None and done.dev_sha256 is not None and done.dev_sha256.startswith(f"{listed} "):
        return done.dev_sha256
    return f"{listed} {held}"


def _dev_scores(
    run: Run,
    model: VisualTranslator,
    device: torch.device,
    dev_clips: Sequence[Clip],
    tokenizer: Tokenizer,
    generation: GenerationConfig,
) -> dict[str, float]:
    """Of a model, from the videos of dev; none without dev."""
    if not dev_clips:
        return {}
    config = run.config
    mine = shard(dev_clips, generation.batch_size)
    events = read_ahead(plain(mine), PieceReader(config.video), config.compute.workers)
    encoder = FrozenEncoder(model.encoder, level="sign", dtype="float32", device=device)
    batches = packed(usable(encode(encoder, events)), generation.batch_size)
    with progress_counter("translating dev", len(dev_clips), 0) as show:
        hypotheses = gather_hypotheses(
            [clip.id for clip in dev_clips], lambda: decode(model.translator, batches, tokenizer, generation, show=show)
        )
    return rounded(score_hypotheses(config, hypotheses, [clip.text for clip in dev_clips]))
