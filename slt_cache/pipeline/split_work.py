"""Work on one split: which part files exist, which are missing, and how they are made."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain, islice
from pathlib import Path

from slt_cache import __version__
from slt_cache.corpora.base import Clip
from slt_cache.corpora.fingerprint import manifest_sha256, sources
from slt_cache.corpora.registry import language_code
from slt_cache.decoding.encode import EncodedClip, UnstorableFeatures, encode
from slt_cache.device import pick_device
from slt_cache.distributed.work_queue import WorkQueue
from slt_cache.encoders.base import Encoder, Frozen
from slt_cache.features.cache import FeatureCache
from slt_cache.features.kept import KeptFeatures
from slt_cache.features.layout import UNKNOWN, Failure, SplitContent, SplitMetadata
from slt_cache.features.parts import ClipFeatures, Parts
from slt_cache.pipeline.encoder import reader_of
from slt_cache.pipeline.feature_spec import with_boxes
from slt_cache.progress import log, progress_counter
from slt_cache.runs.run import Run
from slt_cache.video.chunks import ClipEnd, ClipView, Event, plain
from slt_cache.video.reader_pool import read_ahead


@dataclass(frozen=True)
class _Begun:
    """Part in progress."""

    claim: int
    """Number by which the queue knows it."""
    number: int
    rows: dict[Clip, list[ClipFeatures]]
    """Views of the finished clips."""
    to_read: dict[Clip, str]
    """Clips whose videos are read, with the fingerprint of their source."""


@dataclass(frozen=True)
class SplitWork:
    """Extraction of one split. A part holds a fixed chunk of the manifest, whoever makes it."""

    run: Run
    encoder: Encoder
    parts: Parts
    cache: Path
    """Cache for the split, which may hold it already."""
    chunks: Sequence[Sequence[Clip]]
    """Clips of each part."""

    @classmethod
    def plan(cls, run: Run, encoder: Encoder, cache: Path, split: str, clips: Sequence[Clip]) -> "SplitWork":
        metadata = SplitMetadata(
            split=split,
            spec=with_boxes(run, encoder.spec(run.config.features, run.config.augmentation)),
            corpus=run.config.corpus.name,
            language=language_code(run.config) or UNKNOWN,
            manifest_sha256=manifest_sha256(clips),
            created=encoder.made_at,
            tool=f"slt-cache {__version__}",
        )
        size = run.config.features.clips_per_part
        chunks = [clips[first : first + size] for first in range(0, len(clips), size)]
        return cls(run, encoder, Parts(cache, metadata), cache, chunks)

    @property
    def metadata(self) -> SplitMetadata:
        return self.parts.metadata

    def content(self) -> SplitContent:
        """Returns the whole split, once all parts exist."""
        return self.parts.content(len(self.chunks))

    def are_all_made(self) -> bool:
        """Returns whether the files of all parts exist."""
        return all(self.parts.path(number).is_file() for number in range(len(self.chunks)))

    @property
    def clips(self) -> list[Clip]:
        return list(chain.from_iterable(self.chunks))

    @cached_property
    def source_of(self) -> dict[str, str]:
        """Fingerprints of the sources of each clip's features, for the present videos."""
        clips = self.clips
        return dict(zip((clip.id for clip in clips), sources(clips), strict=True))

    def are_of_these_videos(self, cached: FeatureCache) -> bool:
        """Returns whether no video has changed since these features were made; a deleted one has not."""
        found = (
            (source, self.source_of.get(clip_id)) for clip_id, source in zip(cached.ids, cached.sources, strict=True)
        )
        return all(source == now for source, now in found if source and now)

    def kept(self) -> KeptFeatures:
        """Returns what earlier extractions left; only parts, if the cache is to be extracted again entirely."""
        finished = [] if self.parts.is_restarted or not self.cache.exists() else [self.cache]
        return KeptFeatures(self.metadata, [*finished, *self.parts.aside])

    def to_do(self, longest_first: bool) -> list[int]:
        """Returns the parts that are missing, or lack clips that are readable by now; with several processes those with
        the longest videos first, so that none is left alone with one at the end. Sets aside parts of other clips or
        videos."""
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
        self._log_kept(numbers)
        if not longest_first:
            return numbers  # examining every video is slow on a shared disk
        return sorted(numbers, key=lambda number: -sum(map(_weight, self.chunks[number])))

    def _log_kept(self, numbers: Sequence[int]) -> None:
        """Logs how many clips of a changed manifest keep their features, if any."""
        kept = self.kept()
        todo = [clip for number in numbers for clip in self.chunks[number]]
        read = [clip.id for number in numbers for clip in self._to_read(kept, number, self.source_of)]
        if len(read) == len(todo):
            return
        changed = sum(clip_id in kept.ids for clip_id in read)
        split, of_which = self.metadata.split, f" ({len(read) - changed:,} new, {changed:,} changed)" if read else ""
        gone = len(kept.ids - self.source_of.keys())
        dropped = f"; {gone:,} no longer in the manifest are dropped" if gone else ""
        log(f"{split}: {len(todo) - len(read):,} clips keep their features, {len(read):,} are read{of_which}{dropped}")

    def any_readable(self, missing: Iterable[Failure], clips: Iterable[Clip]) -> bool:
        """Returns whether a previously unreadable clip is readable now. Clips that the cache cannot hold were
        readable."""
        unstorable = UnstorableFeatures.reasons_for(self.metadata.spec.dtype)
        lost = {failure.clip_id for failure in missing if failure.reason not in unstorable}
        workers = min(1, self.run.config.compute.readers)
        read_again = plain(clip for clip in clips if clip.id in lost)
        reader = reader_of(self.encoder, self.run.config.video.decoder)
        events = read_ahead(read_again, reader, workers)
        return any(isinstance(event, ClipEnd) for event in events)

    def make_all(self, numbers: Sequence[int], queue: WorkQueue) -> float:
        """Makes parts until all processes together have made all of these. Returns seconds."""
        begun = time.monotonic()
        split, clips = self.metadata.split, sum(map(len, self.chunks))
        sizes = [len(self.chunks[number]) for number in numbers]
        with progress_counter(
            f"extracting {split}",
            clips,
            clips - sum(sizes),
            quiet=not queue.is_main_process,
            note=partial(queue.share, split),
        ) as show:

            def advance(more: int) -> None:
                show(queue.count(split, more) + queue.done_by_others(split, sizes))

            self._make(numbers, queue, advance)
            for is_any_free in queue.await_all(split):
                advance(0)
                if is_any_free:
                    self._make(numbers, queue, advance)
        return time.monotonic() - begun

    def _make(self, numbers: Sequence[int], queue: WorkQueue, advance: Callable[[int], None]) -> None:
        """Makes the parts that this process claims. Videos are read ahead across parts; parts whose clips all keep
        their features need none."""
        encoder, views, kept = self._frozen(), self.metadata.spec.views, self.kept()
        claimed: deque[_Begun] = deque()

        def jobs() -> Iterator[ClipView]:
            for claim in queue.claim_next(self.metadata.split, len(numbers)):
                begun = self._begin(kept, claim, numbers[claim])
                advance(len(begun.rows))
                if not begun.to_read:
                    self._write(begun, [], queue)
                    continue
                claimed.append(begun)
                for clip in begun.to_read:
                    yield from (ClipView(clip, view) for view in range(views))

        config = self.run.config
        reader = reader_of(self.encoder, config.video.decoder, config.augmentation, config.features.view_seed)
        events = read_ahead(jobs(), reader, config.compute.readers)
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
                advance(1)
            self._write(begun, failures, queue)

    def _begin(self, kept: KeptFeatures, claim: int, number: int) -> "_Begun":
        """Starts a part from the kept features; returns it with the clips to read."""
        clips = self.chunks[number]
        source_of = dict(zip((clip.id for clip in clips), sources(clips), strict=True))
        to_read = {*self._to_read(kept, number, source_of)}
        found = {clip: kept.rows(clip, source_of[clip.id]) for clip in clips if clip not in to_read}
        rows = {clip: one for clip, one in found.items() if one is not None}
        return _Begun(claim, number, rows, {clip: source_of[clip.id] for clip in clips if clip not in rows})

    def _to_read(self, kept: KeptFeatures, number: int, source_of: Mapping[str, str]) -> list[Clip]:
        """Returns the clips of a part whose videos must be read. If only missing clips became readable, it is the whole
        part, so that the bytes equal those of an uninterrupted extraction."""
        clips = self.chunks[number]
        to_read = [clip for clip in clips if not kept.holds(clip, source_of[clip.id])]
        repaired = to_read and not kept.of_other_manifests and kept.ids.isdisjoint(clip.id for clip in to_read)
        return list(clips) if repaired else to_read

    def _write(self, part: "_Begun", failures: Sequence[Failure], queue: WorkQueue) -> None:
        """Writes a part, unless another process has taken it over."""
        if not queue.holds(self.metadata.split, part.claim):
            return
        rows = (part.rows.get(clip, []) for clip in self.chunks[part.number])
        self.parts.write(part.number, list(chain.from_iterable(rows)), failures)
        queue.finish(self.metadata.split, part.claim)

    def _frozen(self) -> Frozen:
        features = self.run.config.features
        device = pick_device(self.run.config.compute.device, features.precision, "features.precision")
        return self.encoder.frozen(self.metadata.spec, device, features.precision, features.batch_frames)


def _weight(clip: Clip) -> float:
    """Returns the relative reading time of a clip, in a unit shared by all clips of a corpus."""
    if clip.start is not None and clip.end is not None:
        return clip.end - clip.start
    try:
        return sum(1 for _ in clip.video.iterdir()) if clip.video.is_dir() else clip.video.stat().st_size
    except OSError:
        return 0.0


def _until_end(events: Iterator[Event], clips: int) -> Iterator[Event]:
    """Yields the events of this many clips."""
    while clips:
        event = next(events)
        yield event
        clips -= isinstance(event, ClipEnd | Exception)


def _row(encoded: EncodedClip, source: str) -> ClipFeatures:
    end, clip = encoded.end, encoded.end.clip
    return ClipFeatures(clip.id, clip.text, end.num_frames, end.fps, encoded.features.numpy(), source, clip.origin)
