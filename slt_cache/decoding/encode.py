"""Videos through the frozen encoder: events of a reader in, features of each clip out.

Extraction, evaluation from video and live translation all come through here, so a cached clip and the same clip
translated live have the same features."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import torch

from slt_cache.encoders.frozen import FrozenEncoder
from slt_cache.errors import SltCacheError
from slt_cache.video.chunks import ClipEnd, Event
from slt_cache.video.stream import UnreadableVideo


class UnstorableFeatures(SltCacheError):
    """A clip whose features the type of the cache cannot hold: an infinite feature would become a fluent wrong
    sentence."""

    def __init__(self, clip_id: str, dtype: str):
        self.clip_id = clip_id
        self.reason = self.reason_for(dtype)
        super().__init__(f"clip {clip_id!r}: {self.reason}. Try features.dtype=float32, or train the encoder again.")

    @staticmethod
    def reason_for(dtype: str) -> str:
        return f"features that are not finite as {dtype}"


@dataclass(frozen=True)
class EncodedClip:
    """One view of one clip."""

    end: ClipEnd
    """Which clip it is."""
    features: torch.Tensor
    """[N, C], on the CPU, of the type that the cache stores."""


Unusable = UnreadableVideo | UnstorableFeatures


@dataclass(frozen=True)
class EncodedClips:
    """Features of B clips, packed, for beam search."""

    ids: tuple[str, ...]
    features: torch.Tensor
    """[sum N, C]"""
    lengths: torch.Tensor
    """int64 [B], N of each clip."""


@dataclass
class _Pending:
    """A clip on its way through the backbone."""

    frames: int = 0
    """Kept frames that have come so far."""
    encoded: list[torch.Tensor] = field(default_factory=list)
    """Frame-wise features that are there already."""
    end: ClipEnd | UnreadableVideo | None = None

    def is_done(self) -> bool:
        if isinstance(self.end, ClipEnd):
            return sum(map(len, self.encoded)) == self.frames
        return self.end is not None


def encode(encoder: FrozenEncoder, events: Iterable[Event]) -> Iterator[EncodedClip | Unusable]:
    """Each clip's features, or why there are none, in the order of the events.

    Frames of several clips go through the backbone together, without padding, and a long clip in several passes."""
    packer = _Packer(encoder)
    late: list[_Result] = []
    for event in events:
        for now in packer.add(event):
            # The pass before is fetched while a GPU computes this one.
            yield from map(_fetch, late)
            late = now
    yield from map(_fetch, late)
    yield from map(_fetch, packer.finish())


_Result = tuple[ClipEnd | UnreadableVideo, torch.Tensor | None]


class _Packer:
    """Collects frames until a pass of the backbone is full."""

    def __init__(self, encoder: FrozenEncoder):
        self.encoder = encoder
        self.buffer: torch.Tensor | None = None
        """uint8 [frames at once, 3, S, S], channels-last."""
        self.segments: list[tuple[_Pending, int]] = []
        """Whose frames the buffer holds, and how many of each."""
        self.clips: deque[_Pending] = deque()

    def add(self, event: Event) -> Iterator[list[_Result]]:
        """Gives the clips that each full pass completes."""
        if not self.clips or self.clips[-1].end is not None:
            self.clips.append(_Pending())
        clip = self.clips[-1]
        if not isinstance(event, torch.Tensor):
            clip.end = event
            return
        clip.frames += len(event)
        while len(event):
            event = self._put(clip, event)
            if self._filled() == len(self._room(event)):
                yield self._run()

    def finish(self) -> list[_Result]:
        return self._run()

    def _filled(self) -> int:
        return sum(count for _, count in self.segments)

    def _room(self, images: torch.Tensor) -> torch.Tensor:
        if self.buffer is None:
            size = images.shape[-1]
            shape = (self.encoder.frames_at_once(size), 3, size, size)
            self.buffer = torch.empty(shape, dtype=torch.uint8).to(memory_format=torch.channels_last)
        return self.buffer

    def _put(self, clip: _Pending, images: torch.Tensor) -> torch.Tensor:
        """Copies what there is room for; returns the others."""
        buffer, filled = self._room(images), self._filled()
        count = min(len(images), len(buffer) - filled)
        buffer[filled : filled + count] = images[:count]
        self.segments.append((clip, count))
        return images[count:]

    def _run(self) -> list[_Result]:
        """One pass of the backbone over what the buffer holds."""
        if self.segments and self.buffer is not None:
            features = self.encoder.frame_features(self.buffer[: self._filled()])
            counts = [count for _, count in self.segments]
            for (clip, _), part in zip(self.segments, features.split(counts), strict=True):
                clip.encoded.append(part)
            self.segments = []
        done: list[_Result] = []
        while self.clips and self.clips[0].is_done():
            done.append(self._result(self.clips.popleft()))
        return done

    def _result(self, clip: _Pending) -> _Result:
        assert clip.end is not None
        if isinstance(clip.end, UnreadableVideo):
            return clip.end, None
        return clip.end, self.encoder.clip_features(torch.cat(clip.encoded))


def _fetch(result: _Result) -> EncodedClip | Unusable:
    end, features = result
    if isinstance(end, UnreadableVideo) or features is None:
        assert isinstance(end, UnreadableVideo)
        return end
    features = features.cpu()
    if not torch.isfinite(features).all():
        return UnstorableFeatures(end.clip.id, str(features.dtype).removeprefix("torch."))
    return EncodedClip(end, features)


def usable(encoded: Iterable[EncodedClip | Unusable]) -> Iterator[EncodedClip]:
    """Stops at the first clip without features: raises why."""
    for clip in encoded:
        if not isinstance(clip, EncodedClip):
            raise clip
        yield clip


def packed(encoded: Iterable[EncodedClip], batch_size: int) -> Iterator[EncodedClips]:
    """Puts clips together for beam search."""
    clips = iter(encoded)
    while batch := list(islice(clips, batch_size)):
        yield _pack(batch)


def _pack(clips: Sequence[EncodedClip]) -> EncodedClips:
    return EncodedClips(
        ids=tuple(clip.end.clip.id for clip in clips),
        features=torch.cat([clip.features for clip in clips]),
        lengths=torch.tensor([len(clip.features) for clip in clips]),
    )
