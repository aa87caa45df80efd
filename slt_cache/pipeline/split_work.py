"""The work on one split: which part files it has, which are still to be made, and the making of them."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from slt_cache import __version__
from slt_cache.checkpoints.visual import VisualCheckpoint
from slt_cache.corpora.clips import Clip
from slt_cache.corpora.fingerprint import sources
from slt_cache.decoding.encode import EncodedClip, UnstorableFeatures, encode
from slt_cache.device import pick_device
from slt_cache.features.cache import FeatureCache
from slt_cache.features.layout import UNKNOWN, Failure, SplitContent, SplitFacts
from slt_cache.features.parts import ClipFeatures, Parts
from slt_cache.models.frozen import FrozenEncoder
from slt_cache.pipeline.feature_spec import feature_spec
from slt_cache.pipeline.prepare import manifest_sha256
from slt_cache.pipeline.run import Run
from slt_cache.pipeline.terminal import counting
from slt_cache.team import Team
from slt_cache.video.pieces import ClipEnd, ClipView, Event, PieceReader, plain
from slt_cache.video.readers import read_ahead


@dataclass(frozen=True)
class SplitWork:
    """One split to be extracted. A part holds the clips of one stretch of the manifest, whoever makes it."""

    run: Run
    checkpoint: VisualCheckpoint
    parts: Parts
    stretches: Sequence[Sequence[Clip]]
    """The clips of each part."""

    @classmethod
    def plan(
        cls, run: Run, checkpoint: VisualCheckpoint, cache: Path, split: str, clips: Sequence[Clip]
    ) -> "SplitWork":
        facts = SplitFacts(
            split=split,
            spec=feature_spec(checkpoint, run.config.features, run.config.augmentation),
            corpus=run.config.corpus.name,
            language=run.config.language_code or UNKNOWN,
            manifest_sha256=manifest_sha256(clips),
            created=checkpoint.record.finished_at,
            tool=f"slt-cache {__version__}",
        )
        size = run.config.features.clips_per_part
        stretches = [clips[first : first + size] for first in range(0, len(clips), size)]
        return cls(run, checkpoint, Parts(cache, facts), stretches)

    @property
    def facts(self) -> SplitFacts:
        return self.parts.facts

    def content(self) -> SplitContent:
        """The whole split, once all parts are there."""
        return self.parts.content(len(self.stretches))

    def are_of_these_videos(self, held: FeatureCache) -> bool:
        """Whether no video has changed since the features were made of it; one that is gone has not."""
        clips = list(chain.from_iterable(self.stretches))
        known = dict(zip(held.ids, held.sources, strict=True))
        return all(
            known.get(clip.id) in (None, "", now) for clip, now in zip(clips, sources(clips), strict=True) if now
        )

    def adopt(self, held: FeatureCache) -> None:
        """Makes parts of what a cache with missing clips holds, so that only those of the missing ones are new."""
        reasons = {failure.clip_id: failure for failure in held.missing}
        rows = {clip_id: number * held.views for number, clip_id in enumerate(held.ids)}
        num_frames, fps = held.column("num_frames").tolist(), held.column("fps").tolist()
        for number, clips in enumerate(self.stretches):
            features = [
                ClipFeatures(clip.id, clip.text, num_frames[row], fps[row], held.row(row), held.row_sources[row])
                for clip in clips
                if clip.id in rows
                for row in range(rows[clip.id], rows[clip.id] + held.views)
            ]
            self.parts.write(number, features, [reasons[clip.id] for clip in clips if clip.id in reasons])

    def to_do(self, longest_first: bool) -> list[int]:
        """Parts that are not there, or lack clips that can be read by now; of a team those with the longest videos
        first, so that no process is left alone with one at the end."""
        numbers = []
        for number, clips in enumerate(self.stretches):
            part = self.parts.held(number, [clip.id for clip in clips])
            if part is None or (part.missing and self.any_readable(part.missing, clips)):
                numbers.append(number)
        if not longest_first:
            return numbers  # to look at every video takes long on a shared disk
        return sorted(numbers, key=lambda number: -sum(map(_weight, self.stretches[number])))

    def any_readable(self, missing: Iterable[Failure], clips: Iterable[Clip]) -> bool:
        """Whether one of the clips that could not be read can be now. What the cache cannot hold has been read."""
        unstorable = UnstorableFeatures.reason_for(self.facts.spec.dtype)
        lost = {failure.clip_id for failure in missing if failure.reason != unstorable}
        workers = min(1, self.run.config.compute.workers)
        read_again = plain(clip for clip in clips if clip.id in lost)
        events = read_ahead(read_again, PieceReader(self.checkpoint.video), workers)
        return any(isinstance(event, ClipEnd) for event in events)

    def make_all(self, numbers: Sequence[int], team: Team) -> float:
        """Makes parts until the whole team has made all of these. Returns seconds."""
        begun = time.monotonic()
        clips = sum(map(len, self.stretches))
        todo = sum(len(self.stretches[number]) for number in numbers)
        with counting(f"extracting {self.facts.split}", clips, clips - todo, quiet=not team.leads) as show:
            self._make(numbers, team, show)
            for _ in team.await_all(self.facts.split):
                show(team.count(self.facts.split, 0))
        return time.monotonic() - begun

    def _make(self, numbers: Sequence[int], team: Team, show: Callable[[int], None]) -> None:
        """Makes those of the parts that this process claims. Videos are read ahead over the borders of parts."""
        encoder, views = self._encoder(), self.facts.spec.views
        claimed: deque[int] = deque()

        def jobs() -> Iterator[ClipView]:
            for claim in team.claims(self.facts.split, len(numbers)):
                claimed.append(numbers[claim])
                for clip in self.stretches[numbers[claim]]:
                    yield from (ClipView(clip, view) for view in range(views))

        config = self.run.config
        reader = PieceReader(self.checkpoint.video, config.augmentation, config.features.view_seed)
        events = read_ahead(jobs(), reader, config.compute.workers)
        for first in events:
            number = claimed.popleft()
            clips = self.stretches[number]
            encoded = encode(encoder, _until_end(chain([first], events), len(clips) * views))
            made_of = dict(zip(clips, sources(clips), strict=True))
            rows: list[ClipFeatures] = []
            failures: list[Failure] = []
            for clip in clips:
                found = list(islice(encoded, views))
                lost = [one for one in found if not isinstance(one, EncodedClip)]
                failures += [Failure(clip.id, one.reason) for one in lost[:1]]
                rows += [] if lost else [_row(one, made_of[clip]) for one in found if isinstance(one, EncodedClip)]
                show(team.count(self.facts.split, 1))
            self.parts.write(number, rows, failures)

    def _encoder(self) -> FrozenEncoder:
        features, spec = self.run.config.features, self.facts.spec
        return FrozenEncoder(
            self.checkpoint.model,
            level=spec.level,
            dtype=spec.dtype,
            precision=features.precision,
            device=pick_device(self.run.config.compute.device, features.precision, "features.precision"),
            batch_frames=features.batch_frames,
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
