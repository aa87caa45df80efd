"""Hashes of finished stages: stored in the record when it is saved, verified when it is loaded.

A record has `files`, the hash of every other file in its folder, and `sha256`, its own; so any flipped bit in the
folder is found, and the file named. Each file is hashed once per process.

Runs made at 04acb8d have no hashes. Their files are accepted if they have exactly the keys of that time: lacking every
later key, a present file cannot pass for one by losing its hash."""

import hashlib
import json
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from slt_cache.errors import InputError
from slt_cache.files import write_json
from slt_cache.folders import TEMPORARY
from slt_cache.progress import log
from slt_cache.reading import RESTORE, read_object

RECORD_FILE = "record.json"
OWN_HASH = "sha256"
"""Key of a JSON file's hash over all its other keys."""
PREPARATION_UNSIGNED = ("source_sha256",)
"""Keys of prepare.json not covered by its own hash, since they are hashes themselves."""
EDITABLE = ("README.md",)
"""Files not verified: the model card, into which users write a licence, and which nothing reads."""
WITHOUT_HASH = tuple(
    frozenset(keys.split())
    for keys in (
        "stage settings finished best_epoch epochs seconds dev dev_beams context finished_at tool",  # record.json
        "corpus sources source_sha256 named signers counts published problems findings",  # prepare.json
        "model split made_from clips scores signatures hypotheses steps_left_out",  # eval/*.json
    )
)
"""Keys of the files without hash."""
UNVERIFIABLE = "made before slt-cache recorded hashes; it cannot be verified"
BLOCK = 1 << 20
"""Bytes per read."""

_known: dict[tuple[int, ...], str] = {}
"""Known hashes by a file's system metadata, so that unchanged files are not read again."""


def file_sha256(path: Path) -> str:
    """Returns the SHA-256 of a file, cached. Raises InputError if it cannot be read."""
    try:
        status = path.stat()
        file = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if file not in _known:
            _known[file] = read_sha256(path)
        return _known[file]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error


def read_sha256(path: Path) -> str:
    """Returns the SHA-256 of a file's present bytes, uncached. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as content:
        while block := content.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def hashes_of(folder: Path) -> dict[str, str]:
    """Returns the hashes of all files in a folder but its own record, by relative path."""
    return {name: file_sha256(folder / name) for name in _files(folder)}


def _files(folder: Path) -> list[str]:
    """Returns the relative paths of a folder's files, without hidden and incomplete ones."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(
        path.as_posix()
        for path in found
        if path.as_posix() != RECORD_FILE
        and not any(part.startswith(".") or part.endswith(TEMPORARY) for part in path.parts)
    )


def damage(folder: Path) -> Iterator[tuple[str, str]]:
    """Yields each file of a folder that is missing or differs from its record, with what is wrong; nothing for a folder
    without a record. Raises InputError if the record itself is damaged."""
    for name, wanted in _recorded(folder).items():
        if not (folder / name).is_file():
            yield name, f"missing; {RECORD_FILE} lists it"
        elif file_sha256(folder / name) != wanted:
            yield name, f"damaged or changed: its SHA-256 is not the one in {RECORD_FILE}"


def is_as_recorded(folder: Path, name: Path, link: Path) -> bool:
    """Returns whether a linked file has the hash that the record of its folder has for it."""
    return file_sha256(link) == _recorded(folder).get(name.as_posix())


def unlisted(folder: Path) -> list[str]:
    """Returns the files of a folder that its record does not list."""
    files = _recorded(folder)
    return [name for name in _files(folder) if name not in files] if files else []


def _recorded(folder: Path) -> dict[str, str]:
    path = folder / RECORD_FILE
    files = read_signed(path).get("files", {}) if path.is_file() else {}
    return files if isinstance(files, dict) else {}


def require_whole(folder: Path) -> None:
    """Raises InputError for the first file of the folder that is missing or differs from its record."""
    for name, what in damage(folder):
        if name not in EDITABLE:
            raise InputError(f"{folder / name}: {what}. {RESTORE}")


def write_signed(path: Path, value: dict[str, Any], apart: Collection[str] = ()) -> None:
    """Writes a JSON object with its own hash, which ignores the keys `apart`."""
    write_json(path, {**value, OWN_HASH: _own_hash(value, apart)})


def read_signed(path: Path, apart: Collection[str] = ()) -> dict[str, Any]:
    """Reads a signed JSON object without its hash. Raises InputError if it is missing or changed; files older than
    hashes are accepted with a line on stderr."""
    value = read_object(path)
    if value.keys() in WITHOUT_HASH:
        _report_unverifiable(_run_of(path))
        return value
    if value.pop(OWN_HASH, None) != _own_hash(value, apart):
        raise InputError(f"{path}: damaged or edited: its SHA-256 does not match. {RESTORE}")
    return value


@cache
def _report_unverifiable(run: Path) -> None:
    """Logs one line per run, however many of its files are read."""
    log(f"{run}: {UNVERIFIABLE}")


def is_verifiable(path: Path) -> bool:
    """Returns whether a signed file has a hash. Raises InputError if it is missing or not a JSON object."""
    return read_object(path).keys() not in WITHOUT_HASH


def _run_of(path: Path) -> Path:
    """Returns the run folder that a file belongs to, or the file itself."""
    return next((folder for folder in path.parents if (folder / "config.yaml").is_file()), path)


def _own_hash(value: dict[str, Any], apart: Collection[str]) -> str:
    covered = {name: one for name, one in value.items() if name not in (OWN_HASH, *apart)}
    plain = json.loads(json.dumps(covered))  # as it will be read: tuples are lists, all keys strings
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
