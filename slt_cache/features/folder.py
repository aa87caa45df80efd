"""Index of a feature cache that is a folder of files: which files belong to it, in which order. Each of them is a cache
of its own with consecutive clips of one split."""

import hashlib
import json
from collections import ChainMap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slt_cache.errors import InputError
from slt_cache.features.checksum_header import AGAIN, read_block
from slt_cache.features.place import INDEX_FILE
from slt_cache.features.structure import Place, SplitHeader
from slt_cache.files import write_json
from slt_cache.reading import read_object

FORMAT = "slt-cache features in several files"
VERSION = 1
OWN_HASH = "sha256"
"""Key of the hash over all other keys."""
COMPLETE = "complete"
"""Attribute that may differ between the files of a split."""
MAX_FILES = 500
"""Largest number of files of one cache: each that is read stays open, and a process may have about a thousand."""


@dataclass(frozen=True)
class IndexedFile:
    """A file of the folder."""

    name: str
    split: str
    rows: int
    """Number of rows, that is, views of clips."""
    sha256: str
    """SHA-256 of its checksum header, which covers everything else."""


@dataclass(frozen=True)
class Index:
    """Content of the index."""

    max_bytes: int
    """Largest size of a file in bytes, unless a single clip needs more."""
    files: Sequence[IndexedFile]
    """Files in the order of their clips; those of a split are consecutive."""


def header_sha256(path: Path) -> str:
    """Returns the SHA-256 of the checksum header of a file. Raises InputError if it cannot be read."""
    return hashlib.sha256(read_block(path)).hexdigest()


def write_index(folder: Path, index: Index) -> None:
    content = {"format": FORMAT, "version": VERSION, **asdict(index)}
    write_json(folder / INDEX_FILE, {**content, OWN_HASH: _sha256(content)})


def _sha256(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_index(folder: Path) -> Index:
    """Reads the index. Raises InputError if it is missing, damaged, of a later version, or names files elsewhere."""
    path = folder / INDEX_FILE
    try:
        saved = read_object(path)
    except InputError as error:
        raise InputError(f"{folder}: its {INDEX_FILE} is missing or damaged. {AGAIN}") from error
    if saved.pop(OWN_HASH, None) != _sha256(saved):
        raise InputError(f"{path}: damaged or edited: its SHA-256 does not match. {AGAIN}")
    if saved.get("format") != FORMAT or not isinstance(saved.get("version"), int) or saved["version"] > VERSION:
        raise InputError(
            f"{path}: format {str(saved.get('format'))[:80]!r}, version {str(saved.get('version'))[:20]}; this "
            f"slt-cache reads {FORMAT!r} up to version {VERSION}. Update slt-cache."
        )
    try:
        return Index(int(saved["max_bytes"]), [_file(entry) for entry in saved["files"]])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: no slt-cache wrote this index ({error}). {AGAIN}") from error


def _file(entry: dict[str, Any]) -> IndexedFile:
    file = IndexedFile(str(entry["name"]), str(entry["split"]), int(entry["rows"]), str(entry["sha256"]))
    if Path(file.name).name != file.name or file.name in ("", "..", INDEX_FILE):
        raise ValueError(f"{file.name[:80]!r} is not the name of a file in the folder")
    return file


def joined_header(headers: Sequence[SplitHeader], where: str) -> SplitHeader:
    """Returns the header of a split that is in several files: its columns are as long as all of theirs. Raises
    InputError if they do not belong together."""
    first, *others = headers
    for other in others:
        same = {name: value for name, value in other.attributes.items() if name != COMPLETE}
        if {**first.attributes, **same} != first.attributes or other.spec != first.spec:
            raise InputError(f"{where}: its files are of different extractions. {AGAIN}")
    if not others:
        return first
    places: dict[str, Place] = {}
    for name, place in ChainMap(*(header.places for header in headers)).items():
        omitted = "clip_id"  # as long as a column that a file omits because all of its values are empty
        rows = sum(header.places.get(name, header.places[omitted]).shape[0] for header in headers)
        places[name] = Place(0, (rows, *place.shape[1:]), place.dtype)
    complete = min(header.attributes[COMPLETE] for header in headers)
    return SplitHeader({**first.attributes, COMPLETE: complete}, first.spec, places)
