"""The work on one split: which part files it has, which are still to be made, and the making of them."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from pathlib import Path

from slt_cache import __version__
from slt_cache.checkpoints.visual import VisualCheckpoint
from slt_cache.corpora.base import Clip
from slt_cache.corpora.fingerprint import manifest_sha256, sources
from slt_cache.corpora.registry import language_code
from slt_cache.decoding.encode import EncodedClip, UnstorableFeatures, encode
from slt_cache.device import pick_device
from slt_cache.distributed.work_queue import WorkQueue
from slt_cache.encoders.frozen import FrozenEncoder
from slt_cache.features.cache import FeatureCache
from slt_cache.features.kept import KeptFeatures
from slt_cache.features.layout import UNKNOWN, Failure, SplitContent, SplitMetadata
from slt_cache.features.parts import ClipFeatures, Parts
from slt_cache.pipeline.feature_spec import feature_spec
from slt_cache.progress import log, progress_counter
from slt_cache.runs.run import Run
from slt_cache.video.chunks import ChunkReader, ClipEnd, ClipView, Event, plain
from slt_cache.video.reader_pool import read_ahead


@dataclass(frozen=True)
class _Begun:
    """A part that is being made."""

    number: int
    rows: dict[Clip, list[ClipFeatures]]
    """All views of the clips that are done."""
    to_read: dict[Clip, str]
    """Clips whose videos are read, and what they are made of."""


@dataclass(frozen=True)
class SplitWork:
    """One split to be extracted. A part holds the clips of one stretch of the manifest, whoever makes it."""

    run: Run
    checkpoint: VisualCheckpoint
    parts: Parts
    cache: Path
    """Where the split will be, and may be already."""
    chunks: Sequence[Sequence[Clip]]
    """The clips of each part."""

    @classmethod
    def plan(
        cls, run: Run, checkpoint: VisualCheckpoint, cache: Path, split: str, clips: Sequence[Clip]
    ) -> "SplitWork":
        metadata = SplitMetadata(
            split=split,
            spec=feature_spec(checkpoint, run.config.features, run.config.augmentation),
            corpus=run.config.corpus.name,
            language=language_code(run.config) or UNKNOWN,
            manifest_sha256=manifest_sha256(clips),
            created=checkpoint.record.finished_at,
            tool=f"slt-cache {__version__}",
        )
        size = run.config.features.clips_per_part
        chunks = [clips[first : first + size] for first in range(0, len(clips), size)]
        return cls(run, checkpoint, Parts(cache, metadata), cache, chunks)

    @property
    def metadata(self) -> SplitMetadata:
        return self.parts.metadata

    def content(self) -> SplitContent:
        """The whole split, once all parts are there."""
        return self.parts.content(len(self.chunks))

    @property
    def clips(self) -> list[Clip]:
        return list(chain.from_iterable(self.chunks))

    @cached_property
    def source_of(self) -> dict[str, str]:
        """What the features of each clip are to be made of, as the videos are now."""
        clips = self.clips
        return dict(zip((clip.id for clip in clips), sources(clips), strict=True))

    def are_of_these_videos(self, held: FeatureCache) -> bool:
        """Whether no video has changed since the features were made of it; one that is gone has not."""
        found = ((source, self.source_of.get(clip_id)) for clip_id, source in zip(held.ids, held.sources, strict=True))
        return all(source == now for source, now in found if source and now)

    def kept(self) -> KeptFeatures:
        """What earlier extractions have left; of a cache that is to be extracted again as a whole, only parts."""
        finished = [] if self.parts.is_restarted or not self.cache.exists() else [self.cache]
        return KeptFeatures(self.metadata, [*finished, *self.parts.aside])

    def to_do(self, longest_first: bool) -> list[int]:
        """Parts that are not there, or lack clips that can be read by now; of a team those with the longest videos
        first, so that no process is left alone with one at the end. Sets aside what other clips or videos made."""
        numbers: list[int] = []
        fitting: set[int] = set()
        for number, clips in enumerate(self.chunks):
            part = self.parts.find(number, [clip.id for clip in clips])
            if part is not None and self.are_of_these_videos(part):
                fitting.add(number)
                if not part.missing or not self.any_readable(part.missing, clips):
                    continue
            numbers.append(number)
        self.parts.set_aside(fitting)
        self._say_kept(numbers)
        if not longest_first:
            return numbers  # to look at every video takes long on a shared disk
        return sorted(numbers, key=lambda number: -sum(map(_weight, self.chunks[number])))

    def _say_kept(self, numbers: Sequence[int]) -> None:
        """How many clips of a changed manifest keep their features, if any does."""
        kept = self.kept()
        todo = [clip for number in numbers for clip in self.chunks[number]]
        read = [clip.id for number in numbers for clip in self._to_read(kept, number, self.source_of)]
        if len(read) == len(todo):
            return
        changed = sum(clip_id in kept.ids for clip_id in read)
        split, of_which = self.metadata.split, f" ({len(read) - changed:,} new, {changed:,} changed)" if read else ""
        gone = len(kept.ids - self.source_of.keys())
        dropped = f"; {gone:,} that the manifest no longer has are left out" if gone else ""
        log(f"{split}: {len(todo) - len(read):,} clips keep their features, {len(read):,} are read{of_which}{dropped}")

    def any_readable(self, missing: Iterable[Failure], clips: Iterable[Clip]) -> bool:
        """Whether one of the clips that could not be read can be now. What the cache cannot hold has been read."""
        unstorable = UnstorableFeatures.reason_for(self.metadata.spec.dtype)
        lost = {failure.clip_id for failure in missing if failure.reason != unstorable}
        workers = min(1, self.run.config.compute.workers)
        read_again = plain(clip for clip in clips if clip.id in lost)
        events = read_ahead(read_again, ChunkReader(self.checkpoint.video), workers)
        return any(isinstance(event, ClipEnd) for event in events)

    def make_all(self, numbers: Sequence[int], team: WorkQueue) -> float:
        """Makes parts until the whole team has made all of these. Returns seconds."""
        begun = time.monotonic()
        clips = sum(map(len, self.chunks))
        todo = sum(len(self.chunks[number]) for number in numbers)
        with progress_counter(
            f"extracting {self.metadata.split}", clips, clips - todo, quiet=not team.is_main_process
        ) as show:
            self._make(numbers, team, show)
            for _ in team.await_all(self.metadata.split):
                show(team.count(self.metadata.split, 0))
        return time.monotonic() - begun

    def _make(self, numbers: Sequence[int], team: WorkQueue, show: Callable[[int], None]) -> None:
        """Makes those of the parts that this process claims. Videos are read ahead over the borders of parts; parts
        whose clips all keep their features are written without any."""
        encoder, views, kept = self._encoder(), self.metadata.spec.views, self.kept()
        claimed: deque[_Begun] = deque()

        def jobs() -> Iterator[ClipView]:
            for claim in team.claim_next(self.metadata.split, len(numbers)):
                begun = self._begin(kept, numbers[claim])
                show(team.count(self.metadata.split, len(begun.rows)))
                if not begun.to_read:
                    self._write(begun, [])
                    continue
                claimed.append(begun)
                for clip in begun.to_read:
                    yield from (ClipView(clip, view) for view in range(views))

        config = self.run.config
        reader = ChunkReader(self.checkpoint.video, config.augmentation, config.features.view_seed)
        events = read_ahead(jobs(), reader, config.compute.workers)
        for first in events:
            begun = claimed.popleft()
            encoded = encode(encoder, _until_end(chain([first], events), len(begun.to_read) * views))
            failures: list[Failure] = []
            for clip, source in begun.to_read.items():
                found = list(islice(encoded, views))
                lost = [one for one in found if not isinstance(one, EncodedClip)]
                failures += [Failure(clip.id, one.reason) for one in lost[:1]]
                if not lost:
                    begun.rows[clip] = [_row(one, source) for one in found if isinstance(one, EncodedClip)]
                show(team.count(self.metadata.split, 1))
            self._write(begun, failures)

    def _begin(self, kept: KeptFeatures, number: int) -> "_Begun":
        """A part with the features that are kept, and which clips are to be read."""
        clips = self.chunks[number]
        source_of = dict(zip((clip.id for clip in clips), sources(clips), strict=True))
        to_read = {*self._to_read(kept, number, source_of)}
        found = {clip: kept.rows(clip, source_of[clip.id]) for clip in clips if clip not in to_read}
        rows = {clip: one for clip, one in found.items() if one is not None}
        return _Begun(number, rows, {clip: source_of[clip.id] for clip in clips if clip not in rows})

    def _to_read(self, kept: KeptFeatures, number: int, source_of: Mapping[str, str]) -> list[Clip]:
        """The clips of a part whose videos have to be read. If all that changed is that missing ones can be read now,
        all of the part, so that the bytes are those of an extraction that nothing has interrupted."""
        clips = self.chunks[number]
        to_read = [clip for clip in clips if not kept.holds(clip, source_of[clip.id])]
        repaired = to_read and not kept.of_other_manifests and kept.ids.isdisjoint(clip.id for clip in to_read)
        return list(clips) if repaired else to_read

    def _write(self, part: "_Begun", failures: Sequence[Failure]) -> None:
        rows = (part.rows.get(clip, []) for clip in self.chunks[part.number])
        self.parts.write(part.number, list(chain.from_iterable(rows)), failures)

    def _encoder(self) -> FrozenEncoder:
        features, spec = self.run.config.features, self.metadata.spec
        return FrozenEncoder(
            self.checkpoint.model.encoder,
            level=spec.level,
            dtype=spec.dtype,
            precision=features.precision,
            device=pick_device(self.run.config.compute.device, features.precision, "features.precision"),
            batch_frames=features.batch_frames,
            translator=self.checkpoint.model.translator,
        )


def _weight(clip: Clip) -> float:
    """How long reading it will take, in a unit that all clips of a corpus share."""
    if clip.start is not None and clip.end is not None:
        return clip.end - clip.start
    try:
        return sum(1 for _ in clip.video.iterdir()) if clip.video.is_dir() else clip.video.stat().st_size
    except OSError:
        return 0.0


def _until_end(events: Iterator[Event], clips: int) -> Iterator[Event]:
    """The events of so many clips."""
    while clips:
        event = next(events)
        yield event
        clips -= isinstance(event, ClipEnd | Exception)


def _row(encoded: EncodedClip, source: str) -> ClipFeatures:
    end = encoded.end
    return ClipFeatures(end.clip.id, end.clip.text, end.num_frames, end.fps, encoded.features.numpy(), source)
