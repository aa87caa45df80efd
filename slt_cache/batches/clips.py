"""Batches of clips from video, packed: the frames of all clips in sequence, without padding."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from slt_cache.batches.mixture import mixture_of
from slt_cache.batches.sampler import WHOLE, EpochOrder, Shard, ShortFirst
from slt_cache.batches.targets import Targets, make_targets
from slt_cache.batches.worker_errors import require_shared_memory
from slt_cache.children import belong_to, starting
from slt_cache.config import AugmentationConfig, VideoConfig
from slt_cache.corpora.base import Clip
from slt_cache.device import moved
from slt_cache.progress import progress_steps
from slt_cache.text.tokenizer import Tokenizer
from slt_cache.video.decoders import require_decoder
from slt_cache.video.frame_cache import FrameCache
from slt_cache.video.frames import open_frames, read_kept_frames
from slt_cache.video.stream import UnreadableVideo, only_unreadable
from slt_cache.video.transforms import augment, square

LEAST_FRAMES = 2
"""Frames that frame dropout leaves of a clip at least."""


@dataclass(frozen=True)
class ClipFrames:
    """Frames of one clip as the encoder sees them."""

    clip: Clip
    images: torch.Tensor
    """Frames, uint8 [T', 3, S, S]."""


class AugmentedClips(Dataset[Any]):
    """Dataset of clips with the augmentation of stage 1, indexed by (epoch, index). An unreadable clip is returned as
    its error, at which the training stops. With a frame cache, frames are decoded in the first epoch only; the results
    are the same."""

    def __init__(
        self,
        clips: Sequence[Clip],
        video: VideoConfig,
        augmentation: AugmentationConfig,
        seed: int,
        frame_cache: FrameCache | None = None,
        frame_dropout: float = 0.0,
    ):
        """Raises InputError if the decoder cannot be used."""
        require_decoder(video.decoder)
        self.frame_dropout = frame_dropout
        self.frame_cache = frame_cache
        self.clips = clips
        self.video = video
        self.augmentation = augmentation
        self.seed = seed

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, item: tuple[int, int]) -> ClipFrames | UnreadableVideo:
        epoch, index = item
        random = np.random.default_rng((self.seed, epoch, index))
        clip = self.clips[index % len(self.clips)]  # a clip that occurs again in an epoch has a higher index
        video = self.video
        offset = int(random.integers(video.keep_every)) if self.augmentation.phase else 0
        try:
            with only_unreadable(clip):
                if self.frame_cache is not None:
                    images = self.frame_cache.read(clip, offset)
                else:
                    read = read_kept_frames(clip, video.keep_every, offset, video.fps, video.decoder)
                    images = square(read.frames, video)
        except UnreadableVideo as error:
            return error
        if self.frame_dropout:
            draws = random.random(len(images))
            kept = draws >= self.frame_dropout
            kept[np.argsort(draws)[-LEAST_FRAMES:]] = True
            images = images[torch.from_numpy(kept)]
        return ClipFrames(clip, augment(images, video.size, self.augmentation, random))


@dataclass(frozen=True)
class ClipBatch:
    """Batch of B clips: packed frames and target sentences."""

    ids: tuple[str, ...]
    frames: torch.Tensor
    """Frames, uint8 [sum T', 3, S, S]."""
    lengths: torch.Tensor
    """Number of kept frames of each clip, int64 [B], on the CPU."""
    targets: Targets

    @property
    def size(self) -> int:
        """Number of kept frames in the batch."""
        return len(self.frames)

    def to(self, device: torch.device) -> "ClipBatch":
        """Copies what the network computes with. The lengths stay on the CPU, since shapes depend on them."""
        return replace(self, frames=moved(self.frames, device), targets=self.targets.to(device))

    def pin_memory(self) -> "ClipBatch":
        """Pins what is copied to a GPU, so that this process does not wait for the copies."""
        return replace(self, frames=self.frames.pin_memory(), targets=self.targets.pin_memory())


def frame_counts(clips: Sequence[Clip], video: VideoConfig) -> list[int]:
    """Returns T of each clip. Raises UnreadableVideo."""
    counts = []
    with progress_steps("reading the lengths of clips", len(clips), "clip") as show:
        for clip in clips:
            counts.append(open_frames(clip, 1, fps=video.fps).num_frames)
            show()
    return counts


class ClipCollator:
    """Collator of `AugmentedClips` items into a ClipBatch, or the first unreadable clip's error."""

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer = tokenizer

    def __call__(self, items: Sequence[ClipFrames | UnreadableVideo]) -> ClipBatch | UnreadableVideo:
        clips: list[ClipFrames] = []
        for item in items:
            if isinstance(item, UnreadableVideo):
                return item
            clips.append(item)
        batch = ClipBatch(
            ids=tuple(item.clip.id for item in clips),
            frames=_joined([item.images for item in clips]),
            lengths=torch.tensor([len(item.images) for item in clips]),
            targets=make_targets(
                [self.tokenizer.encode(item.clip.text) for item in clips],
                self.tokenizer,
                [item.clip.language for item in clips],
            ),
        )
        if get_worker_info() is not None:
            for tensor in (batch.lengths, *batch.targets.tensors):
                tensor.share_memory_()
        return batch


def _joined(images: Sequence[torch.Tensor]) -> torch.Tensor:
    """Concatenates all frames; in a loader process directly in shared memory, so that a lack of space raises an error.
    If the sending thread shared them later, its error would be lost, and the batch waited for forever."""
    if get_worker_info() is None:
        return torch.cat(list(images))
    frames = torch.empty(sum(map(len, images)), *images[0].shape[1:], dtype=images[0].dtype).share_memory_()
    return torch.cat(list(images), out=frames)


class ClipLoader(DataLoader[Any]):
    """DataLoader whose processes leave Ctrl-C to this process and end with it."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        require_shared_memory(self.num_workers)
        with starting():
            return super().__iter__()


def clip_loader(
    clips: Sequence[Clip],
    video: VideoConfig,
    tokenizer: Tokenizer,
    *,
    batch_size: int,
    workers: int,
    seed: int,
    augmentation: AugmentationConfig,
    frame_cache: FrameCache | None = None,
    pinned: bool = False,
    shard: Shard = WHOLE,
    frame_dropout: float = 0.0,
    short_first: ShortFirst | None = None,
    temperature: float | None = None,
) -> DataLoader[Any]:
    """Makes a loader of shuffled, augmented training batches; its `batch_sampler` sets the epoch and the first batch.
    Each worker prefetches two batches and persists between epochs; `pinned` is for a GPU; `temperature` draws clips by
    corpus and language (mixture.py)."""
    mixture = mixture_of([clip.origin for clip in clips], temperature, seed)
    return ClipLoader(
        AugmentedClips(clips, video, augmentation, seed, frame_cache, frame_dropout),
        batch_sampler=EpochOrder(
            len(clips), batch_size, seed, shuffle=True, shard=shard, short_first=short_first, mixture=mixture
        ),
        collate_fn=ClipCollator(tokenizer),
        num_workers=workers,
        worker_init_fn=partial(_begin, os.getpid()),
        generator=torch.Generator(),  # otherwise it would draw from the training's, at times that depend on the workers
        persistent_workers=workers > 0,
        pin_memory=pinned,
    )


def _begin(parent: int, worker: int) -> None:
    belong_to(parent)
