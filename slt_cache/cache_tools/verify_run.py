"""Verifies that every file of a run folder is as it was written: one line for each file that is not. Changes nothing
and opens no video."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from slt_cache.cache_tools.check import check_cache
from slt_cache.checkpoints.record import log_of, read_record
from slt_cache.config import is_as_written, load_config
from slt_cache.corpora.manifest import read_manifest
from slt_cache.errors import InputError
from slt_cache.features.place import INDEX_FILE
from slt_cache.folders import TEMPORARY
from slt_cache.hashes import (
    EDITABLE,
    PREPARATION_UNSIGNED,
    RECORD_FILE,
    UNVERIFIABLE,
    damage,
    file_sha256,
    is_verifiable,
    read_signed,
    unlisted,
)
from slt_cache.reading import read_object
from slt_cache.runs.begin_from import ORIGIN_FILE
from slt_cache.runs.evaluations import read_table
from slt_cache.runs.run import Run, open_run
from slt_cache.runs.unfinished import BEST, CLIPS_FILE
from slt_cache.runs.variants import TRAININGS
from slt_cache.training.logs import METRICS_FILE, read_metrics
from slt_cache.training.state import STATE_FILE, read_state
from slt_cache.training.task import LAST

WEIGHTS = "*.safetensors"
WITHOUT = ("corpus", "frames")
"""Folders of a run whose files have no hash: videos and decoded frames."""


@dataclass(frozen=True)
class Verified:
    """Result of verifying a run."""

    problems: tuple[str, ...]
    """One line each, beginning with the file."""
    notes: tuple[str, ...]
    """Permitted changes, and what cannot be verified."""
    files: int
    """Number of files compared."""


def verify_run(folder: Path) -> Verified:
    """Checks config, manifest, records and all files that they list, states, logs, feature caches and evaluations.

    Raises InputError if the folder holds no run."""
    files = sorted(_files(folder))
    stages = [path.parent for path in files if path.name == RECORD_FILE]
    if not (folder / "config.yaml").is_file() and not stages:
        raise InputError(f"{folder}: no run here (neither config.yaml nor a {RECORD_FILE}). Name a run folder.")
    problems, notes = [*_lines_of(_config, folder), *_lines_of(_manifest, folder)], []
    for stage in stages:
        problems += _lines_of(_stage, stage)
        notes += [f"{stage / name}: changed since it was written" for name in EDITABLE if _changed(stage, name)]
    problems += [line for stage in TRAININGS for line in _without_record(folder / stage / BEST)]
    cache = folder / "feats.h5"
    places = dict.fromkeys(path.parent if (path.parent / INDEX_FILE).is_file() else path for path in files)
    problems += [line for path in places if path != cache for line in _lines_of(_check_of(path), path)]
    notes += [f"{path}: {UNVERIFIABLE}" for path in files if _is_unverifiable(path)]
    if cache in places:
        problems += _lines_of(_cache if problems else _cache_of_run, cache)  # its encoder or manifest may be unreadable
    return Verified(tuple(dict.fromkeys(problems)), tuple(notes), len(files))


def _lines_of(check: Callable[[Path], Iterator[str]], path: Path) -> list[str]:
    """Returns the lines of a check, and its InputError if it raises one."""
    lines: list[str] = []
    try:
        for line in check(path):
            lines.append(line)
    except InputError as error:
        lines.append(" ".join(str(error).split()))
    return lines


def _files(folder: Path) -> Iterator[Path]:
    """Yields the files of a run, also of linked folders, but not hidden or temporary files."""
    for parent, folders, names in os.walk(folder, followlinks=True):
        is_top = Path(parent) == folder
        folders[:] = [name for name in folders if not _is_ignored(name) and not (is_top and name in WITHOUT)]
        yield from (Path(parent, name) for name in names if not _is_ignored(name))


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or name.endswith(TEMPORARY)


def _config(folder: Path) -> Iterator[str]:
    path = folder / "config.yaml"
    if not path.is_file():
        yield f"{path}: missing"
        return
    load_config(str(path))
    if not is_as_written(path):
        yield (
            f"{path}: damaged or edited since it was written. If you have edited it, make '# end of config' its last "
            "line"
        )


def _manifest(folder: Path) -> Iterator[str]:
    manifest, preparation = folder / "manifest.tsv", folder / "prepare.json"
    if not manifest.is_file():
        return  # features made elsewhere need none
    yield from _lines_of(_read_manifest, manifest)
    if not preparation.is_file():
        return  # it may have another origin
    made = read_signed(preparation, PREPARATION_UNSIGNED)
    if made.get("manifest_sha256") not in (None, file_sha256(manifest)):
        yield f"{manifest}: damaged or edited since it was prepared. Restore it from a copy, or prepare again"


def _read_manifest(path: Path) -> Iterator[str]:
    read_manifest(path)
    yield from ()


def _stage(folder: Path) -> Iterator[str]:
    """Checks a folder with a record: a finished stage, or the inputs of a training."""
    record = read_record(folder)
    assert record is not None
    yield from (f"{folder / name}: {what}" for name, what in damage(folder) if name not in EDITABLE)
    yield from (f"{folder / name}: {RECORD_FILE} does not list it" for name in unlisted(folder))
    log, state = log_of(folder), folder.parent / STATE_FILE
    if record.log_sha256 is not None and record.log_sha256 not in _hashes(log):
        yield f"{log}: {'damaged or changed' if log.is_file() else 'missing'}; {folder / RECORD_FILE} has its SHA-256"
    if record.state_sha256 is not None and state.is_file() and record.state_sha256 not in _hashes(state):
        yield f"{state}: damaged or changed; {folder / RECORD_FILE} has its SHA-256"
    if not record.files and any(folder.glob(WEIGHTS)) and is_verifiable(folder / RECORD_FILE):
        yield f"{folder / RECORD_FILE}: lists no files, so these weights cannot be verified"


def _hashes(path: Path) -> list[str]:
    """Returns the SHA-256 of a file, and of the one that a kill between two moves has left in last/."""
    return [file_sha256(one) for one in (path, path.parent / LAST / path.name) if one.is_file()]


def _is_unverifiable(path: Path) -> bool:
    try:
        return path.suffix == ".json" and not is_verifiable(path)
    except InputError:  # reported by its own check
        return False


def _changed(folder: Path, name: str) -> bool:
    try:
        return name in dict(damage(folder))
    except InputError:
        return False


def _without_record(best: Path) -> Iterator[str]:
    if best.is_dir() and not (best / RECORD_FILE).is_file():
        yield f"{best / RECORD_FILE}: missing; without it {best} cannot be used"


def _check_of(path: Path) -> Callable[[Path], Iterator[str]]:
    """Returns the check for a file outside of the folders with records."""
    if path.name == METRICS_FILE:
        return _log
    if path.name == STATE_FILE:
        return _state
    if path.suffix == ".h5" or path.is_dir():
        return _cache
    if "eval" in (path.parent.name, path.parent.parent.name):
        return {".json": _evaluation, ".tsv": _table}.get(path.suffix, _nothing)
    if path.name in ("probed.json", CLIPS_FILE, ORIGIN_FILE):
        return _signed
    return _object if path.name == "bench-cache.json" else _nothing


def _nothing(path: Path) -> Iterator[str]:
    yield from ()


def _log(path: Path) -> Iterator[str]:
    read_metrics(path)
    yield from ()


def _state(path: Path) -> Iterator[str]:
    read_state(path)
    yield from ()


def _signed(path: Path) -> Iterator[str]:
    read_signed(path)
    yield from ()


def _object(path: Path) -> Iterator[str]:
    read_object(path)
    yield from ()


def _cache(path: Path, run: Run | None = None) -> Iterator[str]:
    problems = check_cache(path, run).problems
    yield from (line if line.startswith(str(path)) else f"{path}: {line}" for line in problems)


def _cache_of_run(path: Path) -> Iterator[str]:
    """Also checks that the run's own cache matches its encoder, settings and manifest."""
    yield from _cache(path, open_run(path.parent, None))


def _evaluation(path: Path) -> Iterator[str]:
    saved = read_signed(path)
    table = path.with_suffix(".tsv")
    if not table.is_file():
        yield f"{table}: missing; {path} has its scores"
    elif saved.get("table_sha256") not in (None, file_sha256(table)):
        yield f"{table}: damaged or edited since it was scored. Score it again"


def _table(path: Path) -> Iterator[str]:
    read_table(path)
    yield from ()
