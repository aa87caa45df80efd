"""Clips as the encoder sees them: uint8 `[n, 3, S, S]`, in chunks. The only way from a video to the encoder's input;
cache, evaluation and live translation all use it."""

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch

from slt_cache.config import AugmentationConfig, VideoConfig
from slt_cache.corpora.base import Clip
from slt_cache.video.decoders import require_decoder
from slt_cache.video.frames import open_frames
from slt_cache.video.stream import UnreadableVideo, only_unreadable
from slt_cache.video.transforms import centre_crop, draw_augmentation, square


@dataclass(frozen=True)
class ClipView:
    """A clip to read, unchanged or as one of its augmented views."""

    clip: Clip
    view: int = 0
    """Number of the view; 0 is not augmented."""


@dataclass(frozen=True)
class ClipEnd:
    """Follows the last chunk of a clip."""

    clip: Clip
    view: int
    num_frames: int
    """T, frames before the keep rate: those of the source, or with `video.fps` the resampled ones."""
    fps: float
    """Rate of these frames per second; 0 if unknown."""
    notes: tuple[str, ...] = ()
    """Warnings about a video that can be read."""
    span: tuple[float, float] | None = None
    """Seconds at which the video's frames begin and end; only of readers of movement."""


Event = torch.Tensor | ClipEnd | UnreadableVideo
"""Output of a reader: chunks of a clip, uint8 [n, 3, S, S], or float32 [n, ...] of numbers that it makes of them, then
its end; or, at any point, why it cannot continue."""


@dataclass(frozen=True)
class ChunkReader:
    """Reads clips. View 0 has frame offset 0 and the centre crop; any other view depends only on the seed, the clip's
    id and the number of the view."""

    video: VideoConfig
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises InputError if the decoder cannot be used."""
        require_decoder(self.video.decoder)

    def events(self, job: ClipView) -> Iterator[Event]:
        """Yields the chunks of one clip and its end, or its UnreadableVideo."""
        try:
            with only_unreadable(job.clip):
                yield from self._chunks(job)
        except UnreadableVideo as error:
            yield error

    def _chunks(self, job: ClipView) -> Iterator[Event]:
        video, settings = self.video, self.augmentation
        random = np.random.default_rng(
            (self.seed, zlib.crc32(job.clip.id.encode("utf-8", "surrogateescape")), job.view)
        )
        offset = int(random.integers(video.keep_every)) if job.view and settings.phase else 0
        drawn = draw_augmentation(video.resize - video.size, video.size, settings, random) if job.view else None
        stream = open_frames(job.clip, video.keep_every, offset, video.fps, video.decoder)
        for frames in stream.chunks:
            images = square(frames, video)
            yield centre_crop(images, video.size) if drawn is None else drawn.apply(images, video.size)
        yield ClipEnd(job.clip, job.view, stream.num_frames, stream.fps, stream.notes)


def plain(clips: Iterable[Clip]) -> Iterator[ClipView]:
    """Yields view 0 of each clip."""
    return map(ClipView, clips)
