"""Imports features made elsewhere, one file per clip and a table of them, into a feature cache that stage 2 can read.

Clips are collected in part files of 64, so an interrupted import resumes; the cache is assembled from the parts. Opens
no video."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from slt_cache import __version__
from slt_cache.cache_tools.arrays import BadFile
from slt_cache.cache_tools.export import ExportedSplit, lines_sha256, read_export
from slt_cache.cache_tools.layouts.base import Asked, transposing
from slt_cache.cache_tools.layouts.registry import AUTO, TABLE, chosen_layout, layout_named
from slt_cache.cache_tools.table import ListedClip, ListedView
from slt_cache.errors import InputError
from slt_cache.features.cache import FeatureCache, open_splits
from slt_cache.features.layout import UNKNOWN, Failure, SplitContent, SplitMetadata
from slt_cache.features.parts import ClipFeatures, Parts, add_splits, parts_folder
from slt_cache.features.place import is_cache, on_disk
from slt_cache.features.spec import IMPORTED, FeatureSpec
from slt_cache.locks import exclusive
from slt_cache.pipeline.failures import write_failures
from slt_cache.progress import progress_bar, progress_counter

CLIPS_PER_PART = 64
DTYPES = ("float16", "float32")
COMPARED = 8
"""Files whose shapes are compared at first."""


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
class _Job:
    """One split to import."""

    parts: Parts
    batches: Sequence[Sequence[ListedClip]]
    """The clips of each part."""
    missing: tuple[Failure, ...]
    """Clips that were missing from the exported cache."""


def import_features(
    folder: Path,
    out: Path,
    *,
    source: str | None = None,
    dtype: str | None = None,
    language: str | None = None,
    allow_missing: bool = False,
    layout: str = AUTO,
    asked: Asked | None = None,
    max_bytes: int | None = None,
) -> tuple[FeatureSpec, list[Imported]]:
    """Writes the splits of the folder into `out`, in addition to those that it already has. A split with bad files is
    written only with `allow_missing`; a table next to `out` lists them. `layout` is a name of layouts/registry.py, or
    auto; `asked` says more about the folder, and `max_bytes` is the largest size of a file (features/several_files.py).

    An exported folder restores its cache with the spec and, for each split whose lines are unchanged, all metadata,
    unless `source` says that the features have been replaced. Raises InputError for a folder that
    has another layout, and if `out` holds features of another spec."""
    if dtype not in (None, *DTYPES):
        raise InputError(f"--dtype {dtype}: no such type. Use {' or '.join(DTYPES)}.")
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder. Name the one with the table of features.")
    asked = asked or Asked()
    layout = chosen_layout(folder, layout, asked)
    listing = layout_named(layout).list_clips(folder, asked)
    splits = transposing(listing.splits) if asked.transpose else listing.splits
    exported = (read_export(folder) or {}) if source is None and layout == TABLE else {}
    spec = _spec_of(folder, splits, exported, source, dtype)
    _require_fitting(on_disk(out), spec)
    with exclusive(parts_folder(out) / "lock", str(out)):
        jobs = [_job(out, split, clips, spec, exported.get(split), language) for split, clips in splits.items()]
        for job in jobs:
            _make_parts(job, listing.sources, exact=bool(exported))
        contents = [_content(job) for job in jobs]
        done = [_outcome(job, content, allow_missing) for job, content in zip(jobs, contents, strict=True)]
        written = [content for one, content in zip(done, contents, strict=True) if one.written]
        if written:
            with progress_bar(f"writing {out.name}", "row") as progress:
                add_splits(out, written, progress, max_bytes=max_bytes)
        for job, one in zip(jobs, done, strict=True):
            write_failures(out, one.split, one.failed)
            if one.written:
                job.parts.remove()
    if not any(parts_folder(out).iterdir()):
        parts_folder(out).rmdir()
    return spec, done


def _spec_of(
    folder: Path,
    splits: dict[str, list[ListedClip]],
    exported: dict[str, ExportedSplit],
    source: str | None,
    dtype: str | None,
) -> FeatureSpec:
    """Returns the spec of the export; else a new one with C and the type of the first readable file."""
    clips = [clip for split in splits.values() for clip in split]
    views = len(clips[0].views)
    if exported:
        spec = next(iter(exported.values())).metadata.spec
        if dtype not in (None, spec.dtype) or views != spec.views:
            raise InputError(
                f"{folder}: exported as {spec.dtype} with {spec.views} views, but to be imported as "
                f"{dtype or spec.dtype} with {views}. Omit --dtype, or say what these features are now: --source"
            )
        return spec
    (_, channels), kind = _first_shape(folder, clips)
    dtype = dtype or (kind if kind in DTYPES else "float32")
    named = source or folder.resolve().name
    return FeatureSpec(encoder_sha256=None, level=IMPORTED, dim=channels, dtype=dtype, views=views, source=named)


def _first_shape(folder: Path, clips: Sequence[ListedClip]) -> tuple[tuple[int, int], str]:
    """Returns shape and type of the first readable file. Raises InputError if there is none, or if the first ones are
    all [C, N]: one C on their first axis, and several N on their second."""
    found: list[tuple[tuple[int, int], str]] = []
    reason = ""
    for clip in clips:
        view = clip.views[0]
        try:
            features = view.read(view.file)
        except BadFile as error:
            reason = reason or f"{view.file}: {error}"
            continue
        found.append(((features.shape[0], features.shape[1]), features.dtype.name))
        if len(found) == COMPARED:
            break
    if not found:
        raise InputError(f"{folder}: none of its {len(clips):,} clips can be read. The first: {reason}.")
    heights, widths = ({shape[axis] for shape, _ in found} for axis in (0, 1))
    if len(found) > 2 and len(heights) == 1 and len(widths) > 1:
        raise InputError(
            f"{folder}: its first {len(found)} files have {heights.pop()} rows and {min(widths)} to {max(widths)} "
            "columns: [C, N] instead of [N, C]. Transpose them: --transpose"
        )
    return found[0]


def _require_fitting(out: Path, spec: FeatureSpec) -> None:
    """Raises InputError if `out` has another spec: the splits of a file are used together, so they share one."""
    if out.is_dir() and not is_cache(out):
        raise InputError(f"{out}: a folder, not a file. Name a file with --out, such as {out / 'feats.h5'}.")
    if not out.exists():
        return
    for split, cache in open_splits(out).items():
        different = cache.spec.differences(spec, there="this folder")
        if different:
            raise InputError(
                f"{out} ({split}) holds other features ({'; '.join(different)}). Name a new file with --out."
            )


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
