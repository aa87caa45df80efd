"""The annotation files from which a manifest was made: have they changed since? A corpus may have thousands of caption
files; those are read again only if the size or the modification time of one of them differs from the last time."""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from slt_cache.errors import InputError, SltCacheError
from slt_cache.hashes import read_signed, write_signed

FEW = 16
"""Largest number of files that are read each time, since that takes no time."""
HASHED_AT_ONCE = 1 << 20
RECORD = "sources.json"
"""Name of the file in the run folder that keeps sizes and modification times."""


def sources_sha256(root: Path, sources: Sequence[str]) -> str | None:
    """Returns the hash of the files' bytes, one after another; None if there are none or if one is missing."""
    paths = [root / source for source in sources]
    if not paths or not all(path.is_file() for path in paths):
        return None
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(HASHED_AT_ONCE):
                digest.update(block)
    return digest.hexdigest()


def have_changed(root: Path, made: Mapping[str, Any], run: Path) -> bool:
    """Returns whether a file differs from those that a preparation, with `sources` and `source_sha256`, was made from;
    False if one is missing. Keeps in the run folder what was compared. Raises KeyError."""
    sources = made["sources"]
    status = _status(root, sources) if len(sources) > FEW else None
    if status is not None and _recorded(run / RECORD) == (made["source_sha256"], status):
        return False
    found = sources_sha256(root, sources)
    if found not in (None, made["source_sha256"]):
        return True
    if found is not None and status is not None:
        with suppress(SltCacheError):  # a run that cannot be written to reads the files each time
            write_signed(run / RECORD, {"source_sha256": found, "status": status})
    return False


def _recorded(path: Path) -> tuple[Any, Any]:
    try:
        found = read_signed(path)
        return found["source_sha256"], found["status"]
    except (InputError, KeyError):
        return None, None


def _status(root: Path, sources: Sequence[str]) -> list[list[int]] | None:
    """Returns size and modification time, in nanoseconds, of each file; None if one is missing."""
    try:
        found = [(root / source).stat() for source in sources]
    except (OSError, ValueError):
        return None
    return [[status.st_size, status.st_mtime_ns] for status in found]
