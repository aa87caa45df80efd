"""Imports features made elsewhere, one file per clip and a table of them, into feature caches that stage 2 can read.

Clips are collected in part files of 64, so an interrupted import resumes; the cache is assembled from the parts. Opens
no video."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from itertools import chain
from pathlib import Path

import numpy as np

from slt_cache import __version__
from slt_cache.cache_tools.arrays import BadFile
from slt_cache.cache_tools.export import ExportedSplit, lines_sha256, read_export
from slt_cache.cache_tools.import_targets import DTYPES, USUAL, paths_of_streams, require_fitting, spec_of
from slt_cache.cache_tools.layouts.base import Asked, Listing, transposing
from slt_cache.cache_tools.layouts.registry import AUTO, TABLE, chosen_layout, layout_named
from slt_cache.cache_tools.table import ListedClip, ListedView
from slt_cache.errors import InputError
from slt_cache.features.cache import FeatureCache
from slt_cache.features.layout import UNKNOWN, Failure, SplitContent, SplitMetadata
from slt_cache.features.parts import ClipFeatures, Parts, add_splits, parts_folder
from slt_cache.features.place import on_disk
from slt_cache.features.spec import IMPORTED, FeatureSpec
from slt_cache.locks import exclusive
from slt_cache.pipeline.failures import write_failures
from slt_cache.progress import log, progress_bar, progress_counter

CLIPS_PER_PART = 64


@dataclass(frozen=True)
class Imported:
    """Result of importing one split."""

    split: str
    clips: int
    """Clips with features."""
    rows: int
    """Steps of features over all clips and views."""
    failed: tuple[Failure, ...]
    written: bool
    """Whether the split was written to the cache."""


@dataclass(frozen=True)
class ImportedCache:
    """Result of importing one stream."""

    stream: str
    """Its name; empty if it has none."""
    path: Path
    spec: FeatureSpec
    splits: tuple[Imported, ...]


@dataclass(frozen=True)
class _Job:
    """One split to import."""

    parts: Parts
    batches: Sequence[Sequence[ListedClip]]
    """The clips of each part."""
    missing: tuple[Failure, ...]
    """Clips that were missing from the exported cache."""


@dataclass(frozen=True)
class _Target:
    """One cache to write."""

    stream: str
    path: Path
    spec: FeatureSpec
    listing: Listing
    splits: Mapping[str, list[ListedClip]]


def import_features(
    folder: Path,
    out: Path | None = None,
    *,
    source: str | None = None,
    dtype: str | None = None,
    language: str | None = None,
    allow_missing: bool = False,
    layout: str = AUTO,
    asked: Asked | None = None,
    max_bytes: int | None = None,
) -> list[ImportedCache]:
    """Writes the splits of the folder into `out`, in addition to those that it already has; None is a new feats.h5 in
    the working directory. Of several streams, each is written into a cache of its own, whose name has that of the
    stream. A split with bad files is written only with `allow_missing`; a table next to its cache lists them. `layout`
    is a name of layouts/registry.py, or auto; `asked` says more about the folder, and `max_bytes` is the largest size
    of a file (features/several_files.py).

    Nothing is written before all streams have been read. An exported folder restores its cache with the spec and, for
    each split whose lines are unchanged, all metadata, unless `source` says that the features have been replaced.
    Raises InputError for a folder that has another layout, and if a cache to write holds features of another spec."""
    if dtype not in (None, *DTYPES):
        raise InputError(f"--dtype {dtype}: no such type. Use {' or '.join(DTYPES)}.")
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder. Name the one with the table of features.")
    asked = asked or Asked()
    layout = chosen_layout(folder, layout, asked)
    listings = layout_named(layout).list_clips(folder, asked)
    exported = (read_export(folder) or {}) if source is None and layout == TABLE else {}
    paths = paths_of_streams(folder, on_disk(out or USUAL), listings, is_new=out is None)
    targets = []
    for stream, listing in listings.items():
        splits = transposing(listing.splits) if asked.transpose else listing.splits
        spec = spec_of(folder, splits, exported, source, dtype, stream)
        require_fitting(paths[stream], spec)
        targets.append(_Target(stream, paths[stream], spec, listing, splits))
    with ExitStack() as locks:
        for one in targets:
            locks.enter_context(exclusive(parts_folder(one.path) / "lock", str(one.path)))
        jobs = [_jobs(one, exported, language) for one in targets]
        for remark in dict.fromkeys(remark for one in targets for remark in one.listing.remarks()):
            log(f"{folder}: {remark}")
        done = [_written(one, of_one, allow_missing, max_bytes) for one, of_one in zip(targets, jobs, strict=True)]
        _remove_parts(chain.from_iterable(jobs), (split for one in done for split in one.splits))
    for parts in (parts_folder(one.path) for one in targets):
        if not any(parts.iterdir()):
            parts.rmdir()
    return done


def _jobs(target: _Target, exported: Mapping[str, ExportedSplit], language: str | None) -> list[_Job]:
    """Reads the features of one stream into parts."""
    jobs = [
        _job(target.path, split, clips, target.spec, exported.get(split), language)
        for split, clips in target.splits.items()
    ]
    for job in jobs:
        _make_parts(job, target.listing.sources, exact=bool(exported))
    return jobs


def _written(target: _Target, jobs: Sequence[_Job], allow_missing: bool, max_bytes: int | None) -> ImportedCache:
    """Writes the cache of one stream from its parts, and the tables of what it lacks."""
    contents = [_content(job) for job in jobs]
    done = tuple(_outcome(job, content, allow_missing) for job, content in zip(jobs, contents, strict=True))
    if written := [content for one, content in zip(done, contents, strict=True) if one.written]:
        with progress_bar(f"writing {target.path.name}", "row") as progress:
            add_splits(target.path, written, progress, max_bytes=max_bytes)
    for one in done:
        write_failures(target.path, one.split, one.failed)
    return ImportedCache(target.stream, target.path, target.spec, done)


def _remove_parts(jobs: Iterable[_Job], done: Iterable[Imported]) -> None:
    """Deletes the parts of splits that were written, after all caches have been."""
    for job, one in zip(jobs, done, strict=True):
        if one.written:
            job.parts.remove()


def _job(
    out: Path,
    split: str,
    clips: list[ListedClip],
    spec: FeatureSpec,
    exported: ExportedSplit | None,
    language: str | None,
) -> _Job:
    digest = lines_sha256(split, ((clip.clip_id, clip.text) for clip in clips))
    missing: tuple[Failure, ...] = ()
    if exported is not None and exported.lines_sha256 == digest:
        metadata, missing = exported.metadata, exported.missing
    else:
        metadata = SplitMetadata(
            split=split,
            spec=spec,
            corpus=IMPORTED,
            language=exported.metadata.language if exported is not None else UNKNOWN,
            manifest_sha256=digest,
            created=_started(out) or datetime.now(timezone.utc).isoformat(timespec="seconds"),
            tool=f"slt-cache {__version__}",
        )
    if language is not None:
        metadata = replace(metadata, language=language)
    batches = [clips[first : first + CLIPS_PER_PART] for first in range(0, len(clips), CLIPS_PER_PART)]
    return _Job(Parts(out, metadata), batches, missing)


def _started(out: Path) -> str | None:
    """Reads from leftover parts when the interrupted import began; None if there are none."""
    for path in sorted(parts_folder(out).glob("*/*.h5")):
        try:
            return FeatureCache(path, path.parent.name).metadata.created
        except (InputError, OSError):
            continue
    return None


def _make_parts(job: _Job, sources: Sequence[Path], exact: bool) -> None:
    """Writes the parts that do not exist yet or are older than one of their files."""
    split = job.parts.metadata.split
    done = 0
    with progress_counter(f"importing {split}", sum(map(len, job.batches)), 0) as show:
        for number, clips in enumerate(job.batches):
            if not _is_current(job, number, sources):
                rows: list[ClipFeatures] = []
                failures: list[Failure] = []
                for clip in clips:
                    try:
                        rows += [_row(clip, view, job.parts.metadata.spec, exact) for view in clip.views]
                    except BadFile as error:
                        failures.append(Failure(clip.clip_id, str(error)))
                job.parts.write(number, rows, failures)
            done += len(clips)
            show(done)


def _is_current(job: _Job, number: int, sources: Sequence[Path]) -> bool:
    clips = job.batches[number]
    part = job.parts.find(number, [clip.clip_id for clip in clips])
    if part is None or part.missing:
        return False
    files = [*sources, *(view.file for clip in clips for view in clip.views)]
    return max(map(_changed, files)) < part.path.stat().st_mtime_ns


def _changed(path: Path) -> int:
    """Returns when the file's content or the file of this name last changed, in nanoseconds; the far future if it is
    gone."""
    try:
        found = path.stat()
    except OSError:
        return 2**63
    return max(found.st_mtime_ns, found.st_ctime_ns)


def _row(clip: ListedClip, view: ListedView, spec: FeatureSpec, exact: bool) -> ClipFeatures:
    """Reads one view, [N, C] in the type of the spec. Raises BadFile with file and reason."""
    try:
        features = view.read(view.file)
        if features.shape[1] != spec.dim:
            hint = " ([C, N]? transpose it)" if features.shape[0] == spec.dim else ""
            raise BadFile(f"{features.shape[1]} channels, but the others have {spec.dim}{hint}")
        if exact and features.dtype.name != spec.dtype:
            raise BadFile(f"{features.dtype}, but exported as {spec.dtype}; say what it is now with --source")
        if not np.isfinite(features).all():
            raise BadFile("features that are not finite")
        with np.errstate(over="ignore"):
            stored = np.ascontiguousarray(features, np.dtype(spec.dtype).newbyteorder("<"))
        if not np.isfinite(stored).all():
            raise BadFile(f"features that are not finite as {spec.dtype}; use --dtype float32")
        if 0 < np.abs(features).max() < np.finfo(stored.dtype).smallest_normal:
            raise BadFile(f"features that are all too close to 0 for {spec.dtype}; use --dtype float32")
    except BadFile as error:
        raise BadFile(f"{view.file}: {error}") from error
    except OSError as error:
        raise BadFile(f"{view.file}: cannot be read ({error.strerror})") from error
    made = view.num_frames, view.fps, np.asarray(stored), view.source if exact else ""
    return ClipFeatures(clip.clip_id, clip.text, *made, view.origin)


def _content(job: _Job) -> SplitContent:
    content = job.parts.content(len(job.batches))
    return replace(content, table=replace(content.table, missing=[*content.table.missing, *job.missing]))


def _outcome(job: _Job, content: SplitContent, allow_missing: bool) -> Imported:
    table = content.table
    failed = tuple(table.missing[: len(table.missing) - len(job.missing)])
    return Imported(
        split=job.parts.metadata.split,
        clips=len(table.clip_ids) // job.parts.metadata.spec.views,
        rows=int(table.steps.sum()),
        failed=failed,
        written=allow_missing or not failed,
    )
