"""Clips as the encoder sees them: uint8 `[n, 3, S, S]`, piece by piece. The one way from a video to the encoder's
input; cache, evaluation and live translation all take it."""

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch

from slt_cache.config import AugmentationConfig, VideoConfig
from slt_cache.corpora.base import Clip
from slt_cache.video.frames import open_frames
from slt_cache.video.stream import UnreadableVideo, only_unreadable
from slt_cache.video.transforms import centre_crop, draw_augmentation, square


@dataclass(frozen=True)
class ClipView:
    """A clip to be read, plain or as one of its augmented views."""

    clip: Clip
    view: int = 0
    """0 is plain."""


@dataclass(frozen=True)
class ClipEnd:
    """Comes behind the last piece of a clip."""

    clip: Clip
    view: int
    num_frames: int
    """T, frames before the keep rate: those of the source, or with `video.fps` the resampled ones."""
    fps: float
    """Of these frames, a second; 0 where nothing tells it."""
    notes: tuple[str, ...] = ()
    """What a user should know of the video, though it can be read."""


Event = torch.Tensor | ClipEnd | UnreadableVideo
"""What a reader gives: pieces of a clip, uint8 [n, 3, S, S], then its end; or, at any point, why it cannot go on."""


@dataclass(frozen=True)
class PieceReader:
    """Reads clips. View 0 is plain, phase 0 and the middle crop; another view is drawn from the seed, the clip's id and
    the number of the view, and from nothing else."""

    video: VideoConfig
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    seed: int = 0

    def events(self, job: ClipView) -> Iterator[Event]:
        """The pieces of one clip and its end, or its UnreadableVideo."""
        try:
            with only_unreadable(job.clip):
                yield from self._pieces(job)
        except UnreadableVideo as error:
            yield error

    def _pieces(self, job: ClipView) -> Iterator[Event]:
        video, settings = self.video, self.augmentation
        random = np.random.default_rng(
            (self.seed, zlib.crc32(job.clip.id.encode("utf-8", "surrogateescape")), job.view)
        )
        phase = int(random.integers(video.keep_every)) if job.view and settings.phase else 0
        drawn = draw_augmentation(video.resize - video.size, video.size, settings, random) if job.view else None
        stream = open_frames(job.clip, video.keep_every, phase, video.fps)
        for frames in stream.pieces:
            images = square(frames, video)
            yield centre_crop(images, video.size) if drawn is None else drawn.apply(images, video.size)
        yield ClipEnd(job.clip, job.view, stream.num_frames, stream.fps, stream.notes)


def plain(clips: Iterable[Clip]) -> Iterator[ClipView]:
    """View 0 of each clip."""
    return map(ClipView, clips)
