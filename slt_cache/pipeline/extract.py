"""The frozen encoder over every clip of a split, once: videos in, feature cache out.

One process or a team of them: the leader plans and assembles, everyone makes parts. What a part holds, and how its
frames are put together, depends on the manifest alone, so the cache has the same bytes whoever made which part, and
however often the work was cut off."""

import shutil
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from slt_cache import __version__
from slt_cache.checkpoints.visual import VisualCheckpoint, load_visual, require_visual
from slt_cache.corpora.clips import SPLITS, Clip, of_split
from slt_cache.decoding.encode import EncodedClip, encode
from slt_cache.device import pick_device
from slt_cache.errors import InputError, SltCacheError
from slt_cache.features.cache import FeatureCache, cached_splits
from slt_cache.features.layout import Failure, SplitFacts, SplitTable
from slt_cache.features.parts import ClipFeatures, Parts, add_splits, parts_folder
from slt_cache.features.spec import FeatureSpec
from slt_cache.files import exclusive
from slt_cache.models.frozen import FrozenEncoder
from slt_cache.pipeline.failures import write_failures
from slt_cache.pipeline.feature_spec import feature_spec
from slt_cache.pipeline.prepare import ensure_clips, manifest_sha256, require_split
from slt_cache.pipeline.run import Run
from slt_cache.pipeline.terminal import counting
from slt_cache.team import Team
from slt_cache.video.pieces import ClipEnd, ClipView, Event, PieceReader, plain
from slt_cache.video.readers import read_ahead


@dataclass(frozen=True)
class Extraction:
    """What became of one split."""

    split: str
    clips: int
    """Clips with features."""
    frames: int
    """Rows of features over all clips and views; at the levels frame and sign, kept frames."""
    seconds: float
    """Of this call; next to nothing where the split was there already."""
    failed: tuple[Failure, ...]
    written: bool
    """Whether the cache holds the split now, as the run asks for it."""
    fresh: bool
    """Whether this call wrote it."""


@dataclass(frozen=True)
class _Job:
    """One split to be extracted."""

    parts: Parts
    stretches: Sequence[Sequence[Clip]]
    """The clips of each part."""

    @property
    def split(self) -> str:
        return self.parts.facts.split

    @property
    def clips(self) -> int:
        return sum(map(len, self.stretches))

    def held(self, number: int) -> FeatureCache | None:
        return self.parts.held(number, [clip.id for clip in self.stretches[number]])


def splits_to_extract(run: Run, asked: str) -> list[str]:
    """One split, or for `all` those that have clips. Raises InputError before anything is made."""
    if asked not in (*SPLITS, "all"):
        raise InputError(f"--split {asked}: no such split. Use {', '.join(SPLITS)} or all.")
    require_visual(run.visual / "best")
    clips = ensure_clips(run)
    if asked == "all":
        return [split for split in SPLITS if of_split(clips, split)]
    require_split(run, clips, asked)
    return [asked]


def extract(
    run: Run,
    splits: Sequence[str],
    cache: Path,
    *,
    allow_missing: bool = False,
    restart: bool = False,
    team: Team | None = None,
) -> list[Extraction]:
    """Writes the splits' features into `cache`, beside those that it holds. Goes on where a killed extraction left
    off. A split with clips that cannot be read is written with `allow_missing` only; its other clips are kept as parts.

    Processes that do not lead return nothing. Raises InputError where the cache holds features of another encoder, or
    where another extraction writes it."""
    team = team or Team.from_environment()
    checkpoint = load_visual(run.visual / "best")
    clips = ensure_clips(run)
    jobs = {split: _job(run, checkpoint, cache, split, of_split(clips, split)) for split in splits}
    if not team.leads:
        plan = team.await_published("plan")
        if plan is None:
            raise SltCacheError("the first process has stopped; its message says why.")
        for split, numbers in plan.items():
            _make_parts(run, checkpoint, jobs[split], numbers, team, lambda done: None)
            list(team.await_all(split))
        return []
    try:
        with exclusive(parts_folder(cache) / "lock", str(cache)):
            return _lead(run, checkpoint, cache, jobs, team, allow_missing, restart)
    except BaseException:
        team.publish("plan", None)  # for those who still wait for it
        raise
    finally:
        _remove_if_empty(parts_folder(cache))


def _lead(
    run: Run,
    checkpoint: VisualCheckpoint,
    cache: Path,
    jobs: dict[str, _Job],
    team: Team,
    allow_missing: bool,
    restart: bool,
) -> list[Extraction]:
    if restart:
        forget(cache)
    for job in jobs.values():
        _require_fitting(cache, job.parts.facts.spec)
    found = {split: _found(run, checkpoint, cache, job) for split, job in jobs.items()}
    for split, there in found.items():
        if there is not None:
            jobs[split].parts.remove()  # a kill may have left them behind the finished cache
    plan = {split: _to_do(run, checkpoint, jobs[split]) for split, there in found.items() if there is None}
    team.publish("plan", plan)
    seconds: dict[str, float] = {}
    try:
        for split, numbers in plan.items():
            seconds[split] = _make_all_parts(run, checkpoint, jobs[split], numbers, team)
        contents = {split: jobs[split].parts.content(len(jobs[split].stretches)) for split in plan}
        whole = [content for content in contents.values() if allow_missing or not content.table.missing]
        if whole:
            add_splits(cache, whole)
            if cache == run.features:
                run.remember_features()
    except InputError:
        raise
    except SltCacheError as error:
        kept = sum(len(list(jobs[split].parts.folder.glob("*.h5"))) for split in plan)
        of_all = sum(len(jobs[split].stretches) for split in plan)
        raise SltCacheError(
            f"{error} {kept} of {of_all} parts are kept in {parts_folder(cache)}; the same command goes on from there."
        ) from error
    for split, content in contents.items():
        write_failures(cache, split, content.table.missing)
        if content in whole:
            jobs[split].parts.remove()
            found[split] = _outcome(FeatureCache(cache, split), seconds[split], fresh=True)
        else:
            found[split] = _not_written(content.table, seconds[split])
    return [one for one in found.values() if one is not None]


def _make_all_parts(run: Run, checkpoint: VisualCheckpoint, job: _Job, numbers: Sequence[int], team: Team) -> float:
    """Makes parts until the whole team has made all of a split. Returns seconds."""
    begun = time.monotonic()
    todo = sum(len(job.stretches[number]) for number in numbers)
    with counting(f"extracting {job.split}", job.clips, job.clips - todo) as show:
        _make_parts(run, checkpoint, job, numbers, team, show)
        for _ in team.await_all(job.split):
            show(team.count(job.split, 0))
    return time.monotonic() - begun


def _not_written(table: SplitTable, seconds: float) -> Extraction:
    return Extraction(
        split=table.facts.split,
        clips=len(table.steps) // table.facts.spec.views,
        frames=int(table.steps.sum()),
        seconds=seconds,
        failed=tuple(table.missing),
        written=False,
        fresh=False,
    )


def forget(cache: Path) -> None:
    """Deletes a cache and its part files, for an extraction that begins anew."""
    cache.unlink(missing_ok=True)
    for folder in parts_folder(cache).glob("*/"):
        shutil.rmtree(folder, ignore_errors=True)


def _job(run: Run, checkpoint: VisualCheckpoint, cache: Path, split: str, clips: Sequence[Clip]) -> _Job:
    facts = SplitFacts(
        split=split,
        spec=feature_spec(checkpoint, run.config.features, run.config.augmentation),
        corpus=run.config.corpus.name,
        language=run.config.language_code,
        manifest_sha256=manifest_sha256(clips),
        created=checkpoint.record.finished_at,
        tool=f"slt-cache {__version__}",
    )
    size = run.config.features.clips_per_part
    return _Job(Parts(cache, facts), [clips[first : first + size] for first in range(0, len(clips), size)])


def _require_fitting(cache: Path, spec: FeatureSpec) -> None:
    """All splits of a file come from the same encoder, or none of them could be used together."""
    if cache.exists():
        for split in cached_splits(cache):
            FeatureCache(cache, split).require_spec(spec)


def _found(run: Run, checkpoint: VisualCheckpoint, cache: Path, job: _Job) -> Extraction | None:
    """The split, where the cache holds it of the same manifest and there is nothing to add. What it holds of a split
    with missing clips becomes parts again, so that only those of the missing ones are made anew."""
    if not cache.exists() or job.split not in cached_splits(cache):
        return None
    held = FeatureCache(cache, job.split)
    if held.facts.manifest_sha256 != job.parts.facts.manifest_sha256:
        return None
    if held.complete or not _any_readable(run, checkpoint, job, held.missing):
        return _outcome(held, 0.0, fresh=False)
    reasons = {failure.clip_id: failure for failure in held.missing}
    rows = {clip_id: number * held.views for number, clip_id in enumerate(held.ids)}
    num_frames, fps = held.column("num_frames").tolist(), held.column("fps").tolist()
    for number, clips in enumerate(job.stretches):
        features = [
            ClipFeatures(clip.id, clip.text, num_frames[row], fps[row], held.row(row))
            for clip in clips
            if clip.id in rows
            for row in range(rows[clip.id], rows[clip.id] + held.views)
        ]
        job.parts.write(number, features, [reasons[clip.id] for clip in clips if clip.id in reasons])
    return None


def _to_do(run: Run, checkpoint: VisualCheckpoint, job: _Job) -> list[int]:
    """Parts that are not there, or lack clips that can be read by now; those with the longest videos first, so that
    no process of a team is left alone with one at the end."""
    numbers = []
    for number in range(len(job.stretches)):
        part = job.held(number)
        if part is None or (part.missing and _any_readable(run, checkpoint, job, part.missing)):
            numbers.append(number)
    return sorted(numbers, key=lambda number: -sum(map(_weight, job.stretches[number])))


def _weight(clip: Clip) -> float:
    """How long reading it will take, in a unit that all clips of a corpus share."""
    if clip.start is not None and clip.end is not None:
        return clip.end - clip.start
    try:
        return sum(1 for _ in clip.video.iterdir()) if clip.video.is_dir() else clip.video.stat().st_size
    except OSError:
        return 0.0


def _any_readable(run: Run, checkpoint: VisualCheckpoint, job: _Job, missing: Iterable[Failure]) -> bool:
    """Whether one of the clips that could not be read can be now."""
    lost = {failure.clip_id for failure in missing}
    clips = [clip for clips in job.stretches for clip in clips if clip.id in lost]
    workers = min(1, run.config.compute.workers)
    events = read_ahead(plain(clips), PieceReader(checkpoint.video), workers)
    return any(isinstance(event, ClipEnd) for event in events)


def _make_parts(
    run: Run,
    checkpoint: VisualCheckpoint,
    job: _Job,
    numbers: Sequence[int],
    team: Team,
    show: Callable[[int], None],
) -> None:
    """Makes those of the parts that this process claims. Videos are read ahead over the borders of parts."""
    features, compute, spec = run.config.features, run.config.compute, job.parts.facts.spec
    encoder = FrozenEncoder(
        checkpoint.model,
        level=spec.level,
        dtype=spec.dtype,
        precision=features.precision,
        device=pick_device(compute.device, features.precision),
        batch_frames=features.batch_frames,
    )
    claimed: deque[int] = deque()

    def views() -> Iterator[ClipView]:
        for claim in team.claims(job.split, len(numbers)):
            claimed.append(numbers[claim])
            for clip in job.stretches[numbers[claim]]:
                yield from (ClipView(clip, view) for view in range(spec.views))

    reader = PieceReader(checkpoint.video, run.config.augmentation, features.view_seed)
    events = read_ahead(views(), reader, compute.workers)
    for first in events:
        number = claimed.popleft()
        clips = job.stretches[number]
        rows: list[ClipFeatures] = []
        failures: list[Failure] = []
        encoded = encode(encoder, _until_end(chain([first], events), len(clips) * spec.views))
        for clip in clips:
            found = list(islice(encoded, spec.views))
            lost = [one for one in found if not isinstance(one, EncodedClip)]
            if lost:
                failures.append(Failure(clip.id, lost[0].reason))
            else:
                rows += [_row(one) for one in found if isinstance(one, EncodedClip)]
            show(team.count(job.split, 1))
        job.parts.write(number, rows, failures)


def _until_end(events: Iterator[Event], clips: int) -> Iterator[Event]:
    """The events of so many clips."""
    while clips:
        event = next(events)
        yield event
        clips -= isinstance(event, ClipEnd | Exception)


def _row(encoded: EncodedClip) -> ClipFeatures:
    end = encoded.end
    return ClipFeatures(end.clip.id, end.clip.text, end.num_frames, end.fps, encoded.features.numpy())


def _outcome(held: FeatureCache, seconds: float, fresh: bool) -> Extraction:
    return Extraction(held.split, len(held), int(held.offsets[-1]), seconds, held.missing, True, fresh)


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
