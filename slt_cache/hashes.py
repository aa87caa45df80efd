"""SHA-256 of what a finished stage consists of: put into its record when it is saved, compared when it is loaded.

A record has `files`, the hash of every other file in its folder, and `sha256`, that of the record itself; so a flipped
bit anywhere in the folder is found, and the file named. Each file is read for it once in a process.

The first runs, those of 04acb8d, have no hashes. A file of theirs is accepted if its keys are exactly those that were
written then: it lacks every later key, so a file of today cannot pass for one by losing its hash."""

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
"""Key of a JSON file for the hash of all its other keys."""
EDITABLE = ("README.md",)
"""The model card: users are asked to write a licence into it, and nothing reads it."""
WITHOUT_HASH = tuple(
    frozenset(keys.split())
    for keys in (
        "stage settings finished best_epoch epochs seconds dev dev_beams context finished_at tool",  # record.json
        "corpus sources source_sha256 named signers counts published problems findings",  # prepare.json
        "model split made_from clips scores signatures hypotheses steps_left_out",  # eval/*.json
    )
)
"""Keys of the files that had no hash."""
UNVERIFIABLE = "made before slt-cache recorded hashes; it cannot be verified"
BLOCK = 1 << 20
"""Bytes read at once."""

_known: dict[tuple[int, ...], str] = {}
"""By what the system says of a file: a file that was written or read before is not read again."""


def file_sha256(path: Path) -> str:
    """Raises InputError where the file cannot be read."""
    try:
        status = path.stat()
        file = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if file not in _known:
            _known[file] = read_sha256(path)
        return _known[file]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error


def read_sha256(path: Path) -> str:
    """The same, of the bytes that are there now, whatever is known of the file. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as content:
        while block := content.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def hashes_of(folder: Path) -> dict[str, str]:
    """Of every file in a folder and below it but the folder's own record, by relative path."""
    return {name: file_sha256(folder / name) for name in _files(folder)}


def _files(folder: Path) -> list[str]:
    """Without what systems leave everywhere (names with a dot in front) and what is not whole yet."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(
        path.as_posix()
        for path in found
        if path.as_posix() != RECORD_FILE
        and not any(part.startswith(".") or part.endswith(TEMPORARY) for part in path.parts)
    )


def damage(folder: Path) -> Iterator[tuple[str, str]]:
    """Name of each file that is missing in a folder or not what its record says, and what is wrong with it; nothing for
    a folder without a record. Raises InputError where the record itself is damaged."""
    for name, wanted in _recorded(folder).items():
        if not (folder / name).is_file():
            yield name, f"missing; {RECORD_FILE} lists it"
        elif file_sha256(folder / name) != wanted:
            yield name, f"damaged or changed: its SHA-256 is not the one in {RECORD_FILE}"


def unlisted(folder: Path) -> list[str]:
    """Files of a folder with a record that the record does not list."""
    files = _recorded(folder)
    return [name for name in _files(folder) if name not in files] if files else []


def _recorded(folder: Path) -> dict[str, str]:
    path = folder / RECORD_FILE
    files = read_signed(path).get("files", {}) if path.is_file() else {}
    return files if isinstance(files, dict) else {}


def require_whole(folder: Path) -> None:
    """Raises InputError that names the first file of the folder which is missing or not what its record says."""
    for name, what in damage(folder):
        if name not in EDITABLE:
            raise InputError(f"{folder / name}: {what}. {RESTORE}")


def write_signed(path: Path, value: dict[str, Any], apart: Collection[str] = ()) -> None:
    """Writes a JSON object with its own hash, which does not cover the keys `apart`."""
    write_json(path, {**value, OWN_HASH: _own_hash(value, apart)})


def read_signed(path: Path, apart: Collection[str] = ()) -> dict[str, Any]:
    """Returns what was written, without the hash. Raises InputError if the file is missing or is not what was written;
    one that was written before there were hashes is accepted with a line on stderr."""
    value = read_object(path)
    if value.keys() in WITHOUT_HASH:
        _report_unverifiable(_run_of(path))
        return value
    if value.pop(OWN_HASH, None) != _own_hash(value, apart):
        raise InputError(f"{path}: damaged or edited: it does not have its SHA-256. {RESTORE}")
    return value


@cache
def _report_unverifiable(run: Path) -> None:
    """Prints one line for each run, however many of its files are read."""
    log(f"{run}: {UNVERIFIABLE}")


def is_verifiable(path: Path) -> bool:
    """Whether a signed file has a hash. Raises InputError if it is missing or no JSON object."""
    return read_object(path).keys() not in WITHOUT_HASH


def _run_of(path: Path) -> Path:
    """The run folder that a file belongs to, or the file itself."""
    return next((folder for folder in path.parents if (folder / "config.yaml").is_file()), path)


def _own_hash(value: dict[str, Any], apart: Collection[str]) -> str:
    covered = {name: one for name, one in value.items() if name not in (OWN_HASH, *apart)}
    plain = json.loads(json.dumps(covered))  # as it is when it is read: tuples are lists, all keys strings
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
