"""Trainings on videos: stage 1, and the LLM trained together with parts of the encoder."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer

from slt_cache.batches.clips import clip_loader
from slt_cache.batches.sampler import Shard
from slt_cache.checkpoints.named_files import encoder_settings
from slt_cache.checkpoints.record import Record, different_settings, read_record, whole_record
from slt_cache.config import CROSS_ENTROPY, GenerationConfig, LlmTrainingConfig, VisualTrainingConfig
from slt_cache.corpora.base import Clip, of_split
from slt_cache.corpora.fingerprint import manifest_sha256, videos_sha256
from slt_cache.corpora.fraction import fraction_record
from slt_cache.corpora.registry import language_code
from slt_cache.decoding.encode import EncodedClip, encode, packed, usable
from slt_cache.decoding.search import decode, gather_hypotheses
from slt_cache.device import pick_device
from slt_cache.distributed.processes import rank, shard, size
from slt_cache.encoders.frozen import FrozenEncoder
from slt_cache.models.translators import VisualTranslator
from slt_cache.pipeline.open_frame_cache import open_frame_cache
from slt_cache.pipeline.prepare import require_split
from slt_cache.pipeline.probe import readable_clips
from slt_cache.pipeline.run_stage import run_stage
from slt_cache.pipeline.stages import Stage
from slt_cache.pipeline.visual_training import warn_of_memory, with_passes
from slt_cache.progress import progress_counter
from slt_cache.runs.scoring import references_of, rounded, score_hypotheses
from slt_cache.runs.unfinished import BEST
from slt_cache.text.tokenizer import Tokenizer
from slt_cache.training.objectives.base import Setup
from slt_cache.training.objectives.model import heads, with_objectives
from slt_cache.training.task import LAST
from slt_cache.training.tasks.visual import FromPixelsTask
from slt_cache.training.video_gap import DevFeatures, measured, video_gap
from slt_cache.video.chunks import ChunkReader, plain
from slt_cache.video.reader_pool import read_ahead


@dataclass(frozen=True)
class VideoStage(Stage):
    """Training stage on videos. Subclasses define the model, and how its weights are saved."""

    clips: Sequence[Clip]
    """Clips of every split; of train those that it uses (corpus.fraction)."""
    tokenizer: Tokenizer

    @property
    @abstractmethod
    def loop(self) -> VisualTrainingConfig | LlmTrainingConfig: ...

    @property
    @abstractmethod
    def own_settings(self) -> dict[str, Any]:
        """Settings that determine the weights, besides videos, clips and seed."""

    @abstractmethod
    def make_model(self) -> VisualTranslator: ...

    @abstractmethod
    def make_optimizer(self, model: Any) -> Optimizer:
        """Makes the optimizer of a model with all terms of its loss."""

    @property
    def regularizers(self) -> dict[str, Any]:
        """Further arguments of `clip_loader`."""
        return {}

    @property
    def objective(self) -> tuple[tuple[str, ...], Mapping[str, float]]:
        """Terms of the loss, and weights of some."""
        return (CROSS_ENTROPY,), {}

    @abstractmethod
    def save(self, folder: Path, model: VisualTranslator, record: Record) -> None:
        """Writes the weights into a folder."""

    @abstractmethod
    def load(self, best: Path) -> VisualTranslator:
        """Reads the weights from a folder."""

    @property
    def evaluate_every(self) -> int:
        return self.loop.evaluate_every

    @property
    def keep_epochs(self) -> tuple[int, ...]:
        """Epochs whose weights are kept in addition to the best ones."""
        return ()

    @cached_property
    def train_clips(self) -> list[Clip]:
        return require_split(self.run, self.clips, "train")

    @cached_property
    def dev_clips(self) -> list[Clip]:
        return of_split(self.clips, "dev")

    @cached_property
    def gaps(self) -> list[dict[str, float]]:
        """Video gaps of the evaluations so far."""
        return []

    @property
    def video_gap(self) -> dict[str, float]:
        return self.gaps[-1] if self.gaps else {}

    @cached_property
    def settings(self) -> dict[str, Any]:
        config = self.run.config
        made = whole_record(self.unfinished.last) or whole_record(self.folder / BEST)
        return {
            "seed": config.seed,
            "video": config.video.recorded(),
            "augmentation": config.augmentation.recorded(),
            "encoder": encoder_settings(config.encoder, made),
            **self.own_settings,
            "tokenizer": {"language": language_code(config), "sha256": self.tokenizer.sha256},
            "manifest_sha256": manifest_sha256(self.train_clips),
            "videos_sha256": _videos_sha256(self.folder, self.train_clips),
            **fraction_record(config.corpus.fraction),
        }

    @cached_property
    def dev_sha256(self) -> str | None:
        return _dev_sha256(self.folder, self.dev_clips)

    def is_finished(self) -> bool:
        """Returns whether there is nothing to train or score, and so no video to open."""
        done = read_record(self.folder / BEST)
        if done is None or done.dev_sha256 not in (None, self.dev_sha256):
            return False
        return not different_settings(done, self.settings)

    def make_task(self, device: torch.device) -> FromPixelsTask:
        config = self.run.config
        model = with_passes(self.make_model(), config)
        setup = Setup(model.translator.kind.width, self.tokenizer, config.seed, config.video.keep_every)
        trained = with_objectives(model, *self.objective, setup)
        warn_of_memory(model, config, self.loop, self.train_clips, device, heads(trained))
        loader = clip_loader(
            self.train_clips,
            config.video,
            self.tokenizer,
            batch_size=self.loop.batch_size,
            workers=config.compute.readers,
            seed=config.seed,
            augmentation=config.augmentation,
            frame_cache=open_frame_cache(self.run, self.train_clips),
            pinned=device.type == "cuda",
            shard=Shard(rank(), size()),
            temperature=self.loop.temperature,
            **self.regularizers,
        )
        return FromPixelsTask(
            self.name,
            trained,
            loader,
            optimizer=partial(self.make_optimizer, trained),
            evaluate=partial(self.dev_scores, model, device, config.generation.on_dev),
            save_best=partial(self.save_best, model),
            epoch_ended=partial(self.keep_epoch, model),
        )

    def save_best(self, model: VisualTranslator, epoch: int, dev: dict[str, float]) -> None:
        self.save(self.unfinished.best, model, self.record_of(epoch, dev))

    def keep_epoch(self, model: VisualTranslator, epoch: int) -> None:
        """Saves the weights of an epoch listed in `keep_epochs`."""
        if epoch in self.keep_epochs:
            kept = replace(self.record_of(epoch, {}), finished=True)
            self.save(epoch_folder(self.folder / LAST, epoch), model, kept)

    def dev_scores(
        self, model: VisualTranslator, device: torch.device, generation: GenerationConfig
    ) -> dict[str, float]:
        """Scores a model on the videos of dev, and measures its video gap; empty without dev."""
        if not self.dev_clips:
            return {}
        config = self.run.config
        mine = shard(self.dev_clips, generation.batch_size)
        events = read_ahead(plain(mine), ChunkReader(config.video), config.compute.readers)
        encoder = FrozenEncoder(model.encoder, level="sign", dtype="float32", device=device)
        dev = DevFeatures(measured(self.dev_clips), partial(encoder.black_features, size=config.video.size))
        batches = packed(_kept(usable(encode(encoder, events)), dev), generation.batch_size)
        with progress_counter("translating dev", len(self.dev_clips), 0) as show:
            hypotheses = gather_hypotheses(
                [clip.id for clip in self.dev_clips],
                lambda: decode(model.translator, batches, self.tokenizer, generation, show=show),
            )
        self.gaps.append(video_gap(model.translator, dev, self.tokenizer, config.seed))
        references = references_of(config, [clip.text for clip in self.dev_clips], self.tokenizer)
        return rounded(score_hypotheses(config, hypotheses, references))

    def score(self, best: Path, beams: int) -> dict[str, float]:
        device = pick_device(self.run.config.compute.device)
        generation = self.run.config.generation.model_copy(update={"num_beams": beams})
        return self.dev_scores(self.load(best).to(device), device, generation)


def _kept(encoded: Iterable[EncodedClip], dev: DevFeatures) -> Iterator[EncodedClip]:
    """Yields encoded clips, and keeps the features of each."""
    for clip in encoded:
        dev.keep(clip.end.clip.id, clip.features)
        yield clip


def epoch_folder(folder: Path, epoch: int) -> Path:
    """Returns the folder of one epoch's weights, in the folder of a training."""
    return folder / "epochs" / str(epoch)


def train_from_video(stage: VideoStage, restart: bool, allow_missing: bool) -> Record:
    """Trains, or returns the record of a finished training; dev selects the weights to keep. `allow_missing` leaves out
    unreadable clips."""
    if restart or not stage.is_finished():
        listed = [*stage.train_clips, *stage.dev_clips]
        stage = replace(stage, clips=readable_clips(stage.run, listed, allow_missing, stage.command))
    return run_stage(stage, restart)


def _videos_sha256(folder: Path, clips: Sequence[Clip]) -> str | None:
    """Returns the SHA-256 over the contents of the videos; those of a finished training may be gone or moved."""
    found = videos_sha256(clips)
    done = read_record(folder / BEST) if found is None else None
    return found if done is None else done.settings.get("videos_sha256")


def _dev_sha256(folder: Path, dev_clips: Sequence[Clip]) -> str | None:
    """Returns the hashes of the dev clips and of their videos' contents, which may be gone; None without dev."""
    if not dev_clips:
        return None
    listed, held = manifest_sha256(dev_clips), videos_sha256(dev_clips)
    done = whole_record(folder / BEST) if held is None else None
    if done is not None and done.dev_sha256 is not None and done.dev_sha256.startswith(f"{listed} "):
        return done.dev_sha256
    return f"{listed} {held}"
