"""Encoding of videos with the frozen encoder: events of a reader in, features of each clip out.

Extraction, evaluation from video and live translation share this code, so that a clip has the same features whether
cached or translated live."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import torch

from slt_cache.encoders.base import Frozen
from slt_cache.encoders.frozen import VANISHED
from slt_cache.encoders.packing import ClipTensors
from slt_cache.encoders.packing import packed as packed_tensors
from slt_cache.encoders.windows import Windows
from slt_cache.errors import SltCacheError
from slt_cache.video.chunks import ClipEnd, Event
from slt_cache.video.stream import UnreadableVideo


class UnstorableFeatures(SltCacheError):
    """Error of a clip whose features overflow the cache's data type, or vanish in it: they would become a fluent wrong
    sentence."""

    def __init__(self, clip_id: str, dtype: str, has_vanished: bool):
        self.clip_id = clip_id
        self.reason = self.reasons_for(dtype)[has_vanished]
        super().__init__(f"clip {clip_id!r}: {self.reason}. {self.advice(dtype)}")

    @staticmethod
    def reasons_for(dtype: str) -> tuple[str, str]:
        """Returns what is said of features that overflow, and of those that vanish."""
        return f"its features are not finite in {dtype}", f"its features are all too close to 0 for {dtype}"

    @staticmethod
    def advice(dtype: str, option: str = "features.dtype=", other: str = "use another encoder") -> str:
        """Returns what to do about them: take the wider type, if it is not the cache's already, or the other advice."""
        return f"Try {option}float32, or {other}." if dtype == "float16" else f"{other[0].upper()}{other[1:]}."


@dataclass(frozen=True)
class EncodedClip:
    """Features of one view of one clip."""

    end: ClipEnd
    """Event that ended the clip, which identifies it."""
    features: torch.Tensor
    """Features [N, C] on the CPU, in the cache's data type; of several streams those of the first."""
    others: tuple[torch.Tensor, ...] = ()
    """Features [N, C] of further streams."""

    @property
    def streams(self) -> ClipTensors:
        """Features as a translator reads them: of the only stream, or of each."""
        return (self.features, *self.others) if self.others else self.features


Unusable = UnreadableVideo | UnstorableFeatures


@dataclass(frozen=True)
class EncodedClips:
    """Features of B clips, packed, for beam search."""

    ids: tuple[str, ...]
    features: torch.Tensor
    """Features [sum N, C]; of several streams [sum N, sum C] (encoders/packing.py)."""
    lengths: torch.Tensor
    """Lengths, int64 [B] or [B, S]."""
    languages: tuple[str, ...] = ()
    """Language of each clip's sentence, as its manifest names it."""


@dataclass
class _Pending:
    """Clip that is partly through the backbone."""

    frames: int = 0
    """Kept frames received so far."""
    encoded: list[torch.Tensor] = field(default_factory=list)
    """Frame-wise features computed so far."""
    end: ClipEnd | UnreadableVideo | None = None

    def is_done(self) -> bool:
        if isinstance(self.end, ClipEnd):
            return sum(map(len, self.encoded)) == self.frames
        return self.end is not None


def encode(encoder: Frozen, events: Iterable[Event]) -> Iterator[EncodedClip | Unusable]:
    """Yields each clip's features, or why there are none, in the order of the events.

    Frames of several clips share a pass of the backbone, without padding; a long clip takes several passes."""
    packer = _Packer(encoder)
    late: list[_Result] = []
    for event in _in_windows(events, encoder):
        for now in packer.add(event):
            # Fetches the previous pass while a GPU computes this one.
            yield from map(_fetch, late)
            late = now
    yield from map(_fetch, late)
    yield from map(_fetch, packer.finish())


def _in_windows(events: Iterable[Event], encoder: Frozen) -> Iterator[Event]:
    """Yields the events with windows of frames in place of the frames, for an encoder that reads windows."""
    clip: Windows | None = None
    for event in events:
        clip = clip or Windows(encoder.window, encoder.stride)
        if isinstance(event, torch.Tensor):
            yield clip.add(event)
            continue
        if isinstance(event, ClipEnd) and (last := clip.end()) is not None:
            yield last
        yield event
        clip = None


_Result = tuple[ClipEnd | UnreadableVideo, torch.Tensor | None]


class _Packer:
    """Collects frames until a pass of the backbone is full."""

    def __init__(self, encoder: Frozen):
        self.encoder = encoder
        self._pinned = encoder.device.type == "cuda"
        self.buffer: torch.Tensor | None = None
        """Frame buffer, [frames at once, ...] of the shape and type of the events, such as uint8 [n, 3, S, S]; images
        channels-last."""
        self.segments: list[tuple[_Pending, int]] = []
        """Clips whose frames the buffer holds, with the number of each."""
        self.clips: deque[_Pending] = deque()

    def add(self, event: Event) -> Iterator[list[_Result]]:
        """Yields the clips that each full pass completes."""
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
            self.buffer = torch.empty(
                (self.encoder.frames_at_once(images.shape[-1]), *images.shape[1:]),
                dtype=images.dtype,
                memory_format=torch.channels_last if images.ndim == 4 else torch.contiguous_format,
                pin_memory=self._pinned,
            )
        return self.buffer

    def _put(self, clip: _Pending, images: torch.Tensor) -> torch.Tensor:
        """Copies as many frames as fit; returns the rest."""
        buffer, filled = self._room(images), self._filled()
        count = min(len(images), len(buffer) - filled)
        buffer[filled : filled + count] = images[:count]
        self.segments.append((clip, count))
        return images[count:]

    def _run(self) -> list[_Result]:
        """Runs the backbone over the buffered frames; returns the completed clips."""
        if self.segments and self.buffer is not None:
            features = self.encoder.frame_features(self.buffer[: self._filled()])
            counts = [count for _, count in self.segments]
            for (clip, _), part in zip(self.segments, features.split(counts), strict=True):
                clip.encoded.append(part)
            self.segments = []
            if self._pinned:
                self.buffer = None  # a GPU may not have copied it yet; torch then gives the next pass another one
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
        dtype = str(features.dtype).removeprefix("torch.")
        return UnstorableFeatures(end.clip.id, dtype, has_vanished=bool((features == VANISHED).all()))
    return EncodedClip(end, features)


def joined(streams: Sequence[Iterator[EncodedClip | Unusable]]) -> Iterator[EncodedClip | Unusable]:
    """Yields each clip's features in all streams, or why one of them has none. Each stream yields all clips."""
    for found in zip(*streams, strict=True):
        clips = [one for one in found if isinstance(one, EncodedClip)]
        if len(clips) < len(found):
            yield next(one for one in found if not isinstance(one, EncodedClip))
        else:
            yield replace(clips[0], others=tuple(clip.features for clip in clips[1:]))


def usable(encoded: Iterable[EncodedClip | Unusable]) -> Iterator[EncodedClip]:
    """Yields the encoded clips; raises the error of the first clip without features."""
    for clip in encoded:
        if not isinstance(clip, EncodedClip):
            raise clip
        yield clip


def packed(encoded: Iterable[EncodedClip], batch_size: int) -> Iterator[EncodedClips]:
    """Groups clips into batches for beam search."""
    clips = iter(encoded)
    while batch := list(islice(clips, batch_size)):
        yield _pack(batch)


def _pack(clips: Sequence[EncodedClip]) -> EncodedClips:
    named = [clip.end.clip for clip in clips]
    features = packed_tensors([clip.streams for clip in clips])
    return EncodedClips(tuple(clip.id for clip in named), *features, tuple(clip.language for clip in named))
