"""Clips from video in batches: frames of all clips one after another, without padding."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from slt_cache.batches.order import EpochOrder
from slt_cache.batches.targets import Targets, make_targets
from slt_cache.config import AugmentationConfig, VideoConfig
from slt_cache.corpora.clips import Clip
from slt_cache.text.tokenizer import Tokenizer
from slt_cache.video.frames import UnreadableVideo, read_kept_frames
from slt_cache.video.transforms import augment, square


@dataclass(frozen=True)
class ClipFrames:
    """One clip as the encoder sees it."""

    clip: Clip
    images: torch.Tensor
    """uint8 [T', 3, S, S]"""


class AugmentedClips(Dataset[Any]):
    """Reads clips with the augmentation of stage 1; an item is asked for by (epoch, index). An unreadable clip comes
    back as its error, for the training to stop at."""

    def __init__(self, clips: Sequence[Clip], video: VideoConfig, augmentation: AugmentationConfig, seed: int):
        self.clips = clips
        self.video = video
        self.augmentation = augmentation
        self.seed = seed

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, item: tuple[int, int]) -> ClipFrames | UnreadableVideo:
        epoch, index = item
        random = np.random.default_rng((self.seed, epoch, index))
        clip, video = self.clips[index], self.video
        phase = int(random.integers(video.keep_every)) if self.augmentation.phase else 0
        try:
            kept = read_kept_frames(clip, video.keep_every, phase, video.fps)
        except UnreadableVideo as error:
            return error
        images = augment(square(kept.frames, video), video.size, self.augmentation, random)
        return ClipFrames(clip, images)


@dataclass(frozen=True)
class ClipBatch:
    """Frames of B clips, packed, and their target sentences."""

    ids: tuple[str, ...]
    frames: torch.Tensor
    """uint8 [sum T', 3, S, S]"""
    lengths: torch.Tensor
    """int64 [B], kept frames of each clip."""
    targets: Targets

    def to(self, device: torch.device) -> "ClipBatch":
        return ClipBatch(self.ids, self.frames.to(device), self.lengths.to(device), self.targets.to(device))


class ClipCollator:
    """Items of `AugmentedClips` -> ClipBatch, or the first unreadable clip's error."""

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer = tokenizer

    def __call__(self, items: Sequence[ClipFrames | UnreadableVideo]) -> ClipBatch | UnreadableVideo:
        clips: list[ClipFrames] = []
        for item in items:
            if isinstance(item, UnreadableVideo):
                return item
            clips.append(item)
        return ClipBatch(
            ids=tuple(item.clip.id for item in clips),
            frames=torch.cat([item.images for item in clips]),
            lengths=torch.tensor([len(item.images) for item in clips]),
            targets=make_targets([self.tokenizer.encode(item.clip.text) for item in clips], self.tokenizer),
        )


def clip_loader(
    clips: Sequence[Clip],
    video: VideoConfig,
    tokenizer: Tokenizer,
    *,
    batch_size: int,
    workers: int,
    seed: int,
    augmentation: AugmentationConfig,
) -> DataLoader[Any]:
    """Shuffled, augmented training batches; `loader.batch_sampler.epoch` chooses the epoch."""
    return DataLoader(
        AugmentedClips(clips, video, augmentation, seed),
        batch_sampler=EpochOrder(len(clips), batch_size, seed, shuffle=True),
        collate_fn=ClipCollator(tokenizer),
        num_workers=workers,
        persistent_workers=workers > 0,
    )
