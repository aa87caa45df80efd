"""Writes a feature cache as one file, or as a folder of files if one would be too large. How clips are divided, and so
the bytes, depends on the content alone."""

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from slt_cache.features.folder import MAX_FILES, Index, IndexedFile, header_sha256, read_index, write_index
from slt_cache.features.layout import NUMBERS, ProgressCallback, SplitContent, SplitTable, canonical
from slt_cache.features.writing import optional_columns, write_cache
from slt_cache.files import replacing

OVERHEAD = 16_384
"""Bytes of a file besides columns and features: checksum header, HDF5 structure and alignment."""


def write_files(
    path: Path, contents: Sequence[SplitContent], progress: ProgressCallback | None = None, max_bytes: int | None = None
) -> None:
    """Writes a cache of these splits atomically, replacing an existing one: a file, or a folder if the file would have
    more than `max_bytes`. What is a folder already stays one, of files of the same largest size unless `max_bytes` is
    given. Raises SltCacheError if rows do not match their table."""
    if path.is_dir():
        max_bytes = max_bytes or read_index(path).max_bytes
    total = sum(int(_row_bytes(content.table).sum()) for content in contents)
    if max_bytes is None or (total + len(contents) * OVERHEAD <= max_bytes and not path.is_dir()):
        write_cache(path, contents, progress)
        return
    # two consecutive files have more than one of them may have
    at_least = total // max(1, MAX_FILES // 2 - len(contents))
    with replacing(path) as temporary:
        temporary.mkdir()
        _require_room(path, total)
        files = _written(temporary, contents, max(max_bytes - OVERHEAD, at_least), progress)
        write_index(temporary, Index(max_bytes, files))


def _require_room(path: Path, size: int) -> None:
    """Raises OSError, before hours of writing, if the disk is too small."""
    if shutil.disk_usage(path.parent).free < size:
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: it needs {size / 1e9:.2f} GB")


def _written(
    folder: Path, contents: Sequence[SplitContent], room: int, progress: ProgressCallback | None
) -> list[IndexedFile]:
    files: list[IndexedFile] = []
    done, rows = 0, sum(len(content.table.clip_ids) for content in contents)

    def row_done(of_file: int, _: int) -> None:
        if progress is not None:
            progress(done + of_file, rows)

    for content in sorted(contents, key=lambda content: canonical(content.table.metadata.split)):
        split = content.table.metadata.split
        for number, some in enumerate(_divided(content, room)):
            path = folder / f"{split}-{number:05d}.h5"
            write_cache(path, [some], row_done)
            files.append(IndexedFile(path.name, split, len(some.table.clip_ids), header_sha256(path)))
            done += len(some.table.clip_ids)
    return files


def _divided(content: SplitContent, room: int) -> Iterator[SplitContent]:
    """Yields consecutive clips of a split, as many as take at most `room` bytes; the missing clips are with the first.
    Each is to be read before the next, since the rows are read only once."""
    table, rows = content.table, content.rows()
    ends = _ends(_row_bytes(table), table.metadata.spec.views, room)
    for first, end in zip([0, *ends], ends, strict=False):
        some = _rows_of(table, first, end)
        yield replace(content, table=some, rows=lambda count=end - first: islice(rows, count))  # type: ignore[misc]


def _ends(sizes: np.ndarray, views: int, room: int) -> list[int]:
    """Returns the row after the last one of each file."""
    before = np.concatenate([[0], np.cumsum(sizes.reshape(-1, views).sum(1))])  # bytes before each clip
    ends = [0]
    while ends[-1] < len(before) - 1:
        fitting = int(np.searchsorted(before, before[ends[-1]] + room, side="right")) - 1
        ends.append(max(fitting, ends[-1] + 1))
    return [end * views for end in ends[1:]] or [0]


def _row_bytes(table: SplitTable) -> np.ndarray:
    """Returns the bytes of each row, features and columns; those of the missing clips count for the first."""
    spec, missing = table.metadata.spec, [(failure.clip_id, failure.reason) for failure in table.missing]
    of_strings = _longest(table.clip_ids, table.texts, *optional_columns(table).values())
    numbers = sum(np.dtype(kind).itemsize for kind in NUMBERS.values())
    sizes: np.ndarray = table.steps * (spec.dim * np.dtype(spec.dtype).itemsize) + (of_strings + numbers)
    sizes[:1] += len(missing) * _longest(*zip(*missing, strict=True))
    return sizes


def _longest(*columns: Sequence[str]) -> int:
    """Returns the bytes that a row takes in columns of strings: as many as the longest of each."""
    return sum(max((len(value.encode()) for value in column), default=0) for column in columns)


def _rows_of(table: SplitTable, first: int, end: int) -> SplitTable:
    """Returns a table of some rows."""
    return replace(
        table,
        **{
            name: getattr(table, name)[first:end]
            for name in ("clip_ids", "texts", "num_frames", "fps", "steps", "checksums", "sources", "origins")
        },
        missing=table.missing if first == 0 else (),
    )
