"""Stage 1 as a command: clips in, `visual/` of the run folder out."""

from collections.abc import Sequence

import torch

from slt_cache.batches.clip_batches import clip_loader
from slt_cache.checkpoints.record import Record
from slt_cache.checkpoints.visual import new_visual_translator, save_visual
from slt_cache.corpora.clips import Clip, of_split
from slt_cache.decoding.decode import decode
from slt_cache.decoding.encode import encode, packed, usable
from slt_cache.device import pick_device
from slt_cache.errors import InputError
from slt_cache.models.frozen import FrozenEncoder
from slt_cache.pipeline.language import ensure_tokenizer
from slt_cache.pipeline.prepare import ensure_clips, manifest_sha256, require_split
from slt_cache.pipeline.run import Run
from slt_cache.pipeline.scoring import rounded, score_hypotheses
from slt_cache.pipeline.stage import RecordOf, train_task, training_stage
from slt_cache.training.loop import Progress
from slt_cache.training.visual import VisualTask
from slt_cache.video.pieces import PieceReader, plain
from slt_cache.video.readers import read_ahead


def train_visual(run: Run, restart: bool = False) -> Record:
    """Trains the visual encoder with Light-T, or says how it was trained before."""
    config = run.config
    pick_device(
        config.compute.device, config.compute.precision
    )  # before the corpus is drawn: a mistyped device should not take a minute
    clips = ensure_clips(run)
    train_clips, dev_clips = require_split(run, clips, "train"), of_split(clips, "dev")
    tokenizer = ensure_tokenizer(run, clips)
    _require_videos([*train_clips, *dev_clips])
    sections = ("video", "augmentation", "encoder", "light_t", "visual_training")
    settings = {
        "seed": config.seed,
        **{name: getattr(config, name).model_dump(mode="json") for name in sections},
        "tokenizer": {"name": config.llm.name, "language": config.language_code, "sha256": tokenizer.sha256},
        "manifest_sha256": manifest_sha256([*train_clips, *dev_clips]),
    }

    def work(record: Record) -> Progress:
        def make_task(device: torch.device, record_of: RecordOf) -> VisualTask:
            model = new_visual_translator(config.encoder, config.video, config.light_t, tokenizer)
            loader = clip_loader(
                train_clips,
                config.video,
                tokenizer,
                batch_size=config.visual_training.batch_size,
                workers=config.compute.workers,
                seed=config.seed,
                augmentation=config.augmentation,
            )

            def evaluate() -> dict[str, float]:
                if not dev_clips:
                    return {}
                events = read_ahead(plain(dev_clips), PieceReader(config.video), config.compute.workers)
                encoder = FrozenEncoder(model, level="sign", dtype="float32", device=device)
                batches = packed(usable(encode(encoder, events)), config.generation.batch_size)
                hypotheses = decode(model.translator, batches, tokenizer, config.generation)
                return rounded(score_hypotheses(config, hypotheses, [clip.text for clip in dev_clips]))

            def save_best(epoch: int, dev: dict[str, float]) -> None:
                save_visual(run.visual / "best", model, tokenizer, record_of(epoch, dev))

            return VisualTask(model, loader, config.visual_training, evaluate, save_best)

        return train_task(
            run, run.visual, config.visual_training, record, make_task, config.visual_training.evaluate_every
        )

    return training_stage("stage 1", run.visual, settings, run.command("train-visual"), restart, work)


def _require_videos(clips: Sequence[Clip]) -> None:
    """Raises InputError that names clips without a file, before hours are spent on the others."""
    absent = [clip for clip in clips if not clip.video.exists()]
    if absent:
        named = ", ".join(f"{clip.id!r} ({clip.video})" for clip in absent[:3])
        raise InputError(
            f"{len(absent)} of {len(clips)} clips have no video, such as {named}. "
            "Put the videos there, or take the clips out of the manifest."
        )
