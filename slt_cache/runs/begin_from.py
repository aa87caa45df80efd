"""New stage-2 experiments on the encoder of a trained run: a new run folder that links what stage 2 builds on. Trains
nothing, and copies nothing large."""

import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from slt_cache.advice import command, quoted
from slt_cache.checkpoints.visual import require_visual
from slt_cache.config import save_config
from slt_cache.corpora.base import MONOLINGUAL_FILE
from slt_cache.corpora.manifest import read_manifest, write_manifest
from slt_cache.distributed.processes import is_main_process, main_process_first
from slt_cache.errors import InputError, SltCacheError
from slt_cache.features.cache import FeatureCache
from slt_cache.features.checksum_header import SIZE
from slt_cache.features.place import on_disk
from slt_cache.features.spec import IMPORTED
from slt_cache.files import remove_abandoned, temporary_path
from slt_cache.folders import TEMPORARY, remove
from slt_cache.hashes import PREPARATION_UNSIGNED, RECORD_FILE, file_sha256, read_signed, write_signed
from slt_cache.progress import log
from slt_cache.runs.encoders import FOLDER as ENCODERS
from slt_cache.runs.run import Run, open_run
from slt_cache.runs.streams import caches_named

ORIGIN_FILE = "from.json"
"""File in such a run folder that names the other run, and the SHA-256 of everything that came from it."""
SMALL = 1 << 20
"""Bytes up to which a file is copied. Larger ones are linked; the records, which are small and name the hashes of all
others, thus never change with the other run."""
FEATURES = "feats.h5"
LOG_FILE = "metrics.jsonl"


def begin_from(other: Path, folder: Path, features: str | Sequence[str]) -> list[str]:
    """Makes a run folder from the encoder, tokenizer, manifest, pre-trained LLM and `features` of another run, one
    cache or several streams; does nothing if that was done before. The new folder keeps its content when the other run
    changes. Returns the words that name its caches.

    Raises InputError if there is nothing to start from, if the folder is a run of its own, or if the other run has
    changed since."""
    return _begin(other, folder, features)[0]


@contextmanager
def begun_from(other: Path, folder: Path, features: str | Sequence[str]) -> Iterator[list[str]]:
    """Begins a folder as `begin_from` does, for a block that trains. If the block is refused, removes the folder,
    provided that this call made it, nothing was written into it since, and the message suggests no command on it."""
    named, is_new = main_process_first(lambda: _begin(other, folder, features))
    files = _names(folder) if is_new else set()
    try:
        yield named
    except InputError as error:
        is_suggested = re.search(rf"--(run|from)[ =]{re.escape(quoted(folder))}(?!\w)", str(error))
        if is_new and is_main_process() and not is_suggested and _names(folder) == files:
            gone = folder.rename(temporary_path(folder))  # at once, so that nobody finds half of it
            remove(gone)
        raise


def _names(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def _begin(other: Path, folder: Path, features: str | Sequence[str]) -> tuple[list[str], bool]:
    """Returns the words that name the caches, and whether this call made the folder."""
    source = _source(other, folder, features)
    streams = caches_named(source, [features] if isinstance(features, str) else features)
    names = [f"{name}.h5" for name in streams] if len(streams) > 1 else [FEATURES]
    caches = dict(zip(names, streams.values(), strict=True))
    for cache in caches.values():  # fails before anything is written
        spec = FeatureCache(on_disk(cache), "train").spec
        if len(caches) > 1 and spec.encoder is None and spec.level != IMPORTED:
            require_visual(source.visual / "best")
    named = [str(folder / name) for name in caches]
    is_filled = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    if (folder / ORIGIN_FILE).is_file():
        _require_unchanged(source, folder, caches)
        return named, False
    if is_filled:
        raise InputError(f"{folder}: not empty, and not started from {other}. Use a new folder with --run.")
    temporary = temporary_path(folder)
    try:
        remove(temporary)
        temporary.mkdir(parents=True)
        remove_abandoned(folder.parent, folder.name)
        _fill(source, temporary, caches)
        temporary.rename(folder)  # fails unless the folder is missing or empty
    except OSError as error:
        if not (folder / ORIGIN_FILE).is_file():
            raise SltCacheError(f"{folder}: cannot be made ({error.strerror or error}).") from error
        _require_unchanged(source, folder, caches)  # made by another call meanwhile
        return named, False
    finally:
        remove(temporary)
    log(f"{folder} starts from the encoder and features of {other}, linked rather than copied")
    return named, True


def is_of_other_run(folder: Path, training: str) -> bool:
    """Returns whether the finished training in a run folder came from the run it was started from."""
    origin, record = folder / ORIGIN_FILE, folder / training / "best" / RECORD_FILE
    if not origin.is_file() or not record.is_file():
        return False
    return _begun_with(folder).get(f"{training}/best/{RECORD_FILE}") == file_sha256(record)


def _begun_with(folder: Path) -> dict[str, str]:
    """Returns the SHA-256 of each file that a folder started with, by name."""
    files: dict[str, str] = read_signed(folder / ORIGIN_FILE)["files"]
    return files


def _source(other: Path, folder: Path, features: str | Sequence[str]) -> Run:
    """Opens the other run. Raises InputError unless it has what a single cache needs; several say so themselves."""
    if not (other / "config.yaml").is_file():
        raise InputError(
            f"--from {other}: not a run folder, since it has no config.yaml. Use one with a trained encoder."
        )
    if folder.exists() and folder.samefile(other):
        raise InputError(f"--from {other}: the run itself. Use a new folder with --run.")
    source = open_run(other, None)
    is_single = isinstance(features, str) or len(features) == 1
    if is_single and source.config.features.level != IMPORTED and source.config.encoder.name is None:
        require_visual(source.visual / "best")
    return source


def _artifacts(source: Run, caches: Mapping[str, Path]) -> dict[str, Path]:
    """Returns the existing files and folders to link, by their names in the new folder."""
    here = source.folder
    logs = (f"visual/{LOG_FILE}", f"llm/pretrained/{LOG_FILE}")
    names = ("visual/best", "visual/clips.json", "tokenizer", "llm/pretrained/best", *logs)
    llms = ("llm/trimmed", "llm/prompted", "llm/initial")
    places = {name: here / name for name in (*names, *llms, "prepare.json", ENCODERS)}
    if source.config.corpus.root is None:  # the drawn corpus' text is in the run folder
        places[f"corpus/{MONOLINGUAL_FILE}"] = source.corpus / MONOLINGUAL_FILE
    return {name: place for name, place in {**places, **caches}.items() if place.exists()}


def _files(artifacts: dict[str, Path]) -> Iterator[tuple[str, Path]]:
    """Yields every complete file of the artifacts."""
    for name, place in artifacts.items():
        if place.is_file():
            yield name, place
            continue
        for path in sorted(place.rglob("*")):
            if path.is_file() and TEMPORARY not in path.name:
                yield f"{name}/{path.relative_to(place).as_posix()}", path


def _fill(source: Run, new: Path, caches: Mapping[str, Path]) -> None:
    hashes: dict[str, str] = {}
    for name, path in _files(_artifacts(source, caches)):
        target = new / name
        target.parent.mkdir(parents=True, exist_ok=True)
        _link(path, target)
        if not name.endswith(LOG_FILE) and not name.startswith(f"{ENCODERS}/"):  # a log may grow, an encoder move
            hashes[name] = _sha256(name, target)
    if source.manifest.is_file():
        write_manifest(new / "manifest.tsv", read_manifest(source.manifest))
        _rehash_manifest(source, new)
    save_config(source.config, new / "config.yaml")
    write_signed(new / ORIGIN_FILE, {"run": os.path.relpath(source.folder, new.parent), "files": hashes})


def _rehash_manifest(source: Run, new: Path) -> None:
    """Writes the hash of the new manifest, whose paths differ, into prepare.json. A manifest that was edited since its
    preparation keeps the hash that says so."""
    if not source.preparation.is_file():
        return
    made = read_signed(source.preparation, PREPARATION_UNSIGNED)
    if made.get("manifest_sha256") == file_sha256(source.manifest):
        made["manifest_sha256"] = file_sha256(new / "manifest.tsv")
        write_signed(new / "prepare.json", made, PREPARATION_UNSIGNED)


def _link(path: Path, target: Path) -> None:
    """Copies a small file, else makes a hard link, or a symbolic one to another file system."""
    if path.stat().st_size <= SMALL:
        shutil.copyfile(path, target)
        return
    try:
        os.link(path.resolve(), target)
    except OSError:
        target.symlink_to(path.resolve())


def _sha256(name: str, path: Path) -> str:
    """Returns the SHA-256 of a file; of a feature cache only that of its checksum header, which covers the rest."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        if name.endswith(Path(FEATURES).suffix):
            digest.update(file.read(SIZE))
        else:
            while block := file.read(SMALL):
                digest.update(block)
    return digest.hexdigest()


def _require_unchanged(source: Run, folder: Path, caches: Mapping[str, Path]) -> None:
    """Raises InputError if the other run or the named cache no longer match what the folder started with."""
    begun = _begun_with(folder)
    now = dict(_files(_artifacts(source, caches)))
    changed = [name for name, known in begun.items() if name in now and _sha256(name, now[name]) != known]
    if changed:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise InputError(
            f"{source.folder} has changed since {folder} was started from it ({', '.join(changed[:3])}{more}). "
            f"{folder} keeps what it had: continue with {command('train-llm', run=folder)}, or start "
            "another folder with --run."
        )
