"""Videos through the frozen encoder: clips in, features of the asked level out.

Extraction, evaluation from video and live translation all come through here, so a cached clip and the same clip
translated live have the same features. Without augmentation, and in float32 but for the dev scores of a
mixed-precision training."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.utils.data import DataLoader

from slt_cache.batches.clip_batches import ClipFrames, Clips
from slt_cache.config import VideoConfig
from slt_cache.corpora.clips import Clip
from slt_cache.errors import SltCacheError
from slt_cache.models.sign_translator import VisualTranslator
from slt_cache.video.frames import UnreadableVideo


@dataclass(frozen=True)
class EncodedClips:
    """Features of B clips, packed."""

    clips: tuple[Clip, ...]
    num_frames: tuple[int, ...]
    """T of each clip."""
    features: torch.Tensor
    """[sum N, C], of the type that the cache stores."""
    lengths: torch.Tensor
    """int64 [B], N of each clip."""

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(clip.id for clip in self.clips)


def read_clips(clips: Sequence[Clip], video: VideoConfig, workers: int) -> Iterator[ClipFrames | UnreadableVideo]:
    """The clips in order, read ahead by worker processes."""
    workers = min(workers, len(clips))
    yield from DataLoader(Clips(clips, video), batch_size=None, num_workers=workers)


def encode(
    model: VisualTranslator,
    clips: Iterable[ClipFrames],
    *,
    level: str,
    dtype: str,
    batch_frames: int,
    device: torch.device,
) -> Iterator[EncodedClips]:
    """Puts clips together until they have `batch_frames` kept frames, and gives their features, rounded to `dtype`.

    Raises SltCacheError where `dtype` cannot hold them: an infinite feature would become a fluent wrong sentence."""
    waiting: list[ClipFrames] = []
    frames = 0
    for clip in clips:
        if waiting and frames + len(clip.images) > batch_frames:
            yield _encode_batch(model, waiting, level, dtype, device)
            waiting, frames = [], 0
        waiting.append(clip)
        frames += len(clip.images)
    if waiting:
        yield _encode_batch(model, waiting, level, dtype, device)


def readable(clips: Iterable[ClipFrames | UnreadableVideo]) -> Iterator[ClipFrames]:
    """Stops at the first clip that cannot be read: raises its UnreadableVideo."""
    for clip in clips:
        if isinstance(clip, UnreadableVideo):
            raise clip
        yield clip


@torch.no_grad()
def _encode_batch(
    model: VisualTranslator, batch: Sequence[ClipFrames], level: str, dtype: str, device: torch.device
) -> EncodedClips:
    model.eval()  # BatchNorm must neither use nor move its statistics
    frames = torch.cat([item.images for item in batch]).to(device)
    lengths = torch.tensor([len(item.images) for item in batch])
    features = model.encoder.frame_features(frames)
    if level != "frame":
        features = model.encoder.temporal(features, lengths.to(device))
    if level == "hidden":
        features = model.translator.hidden(features, lengths.to(device))
    rounded = features.to(getattr(torch, dtype))
    if not torch.isfinite(rounded).all():
        raise SltCacheError(
            f"clips {', '.join(item.clip.id for item in batch[:3])} ...: features that are not finite as {dtype}. "
            "Try features.dtype=float32, or train the encoder again."
        )
    return EncodedClips(
        clips=tuple(item.clip for item in batch),
        num_frames=tuple(item.num_frames for item in batch),
        features=rounded,
        lengths=lengths,
    )
