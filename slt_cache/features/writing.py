"""Writes feature caches: one file per call, atomically (format version 1). Computes no features.

The same content gives the same bytes: no times, one order of splits and columns, HDF5 1.10 whatever the library.
Everything but the features is written by HDF5; the features are then written into the space that HDF5 reserved, so
memory does not grow with them and a full disk is an ordinary error."""

import errno
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np
from h5py import h5d, h5p, h5s, h5t

from slt_cache.advice import command
from slt_cache.errors import SltCacheError
from slt_cache.features.checksum_header import CHUNK, FEATURES, block_size, read_bytes, write_checksum_header
from slt_cache.features.layout import (
    ALIGNMENT,
    FACTS,
    FORMAT,
    NUMBERS,
    ORIGIN,
    SOURCE,
    STRINGS,
    VERSION,
    ProgressCallback,
    SplitContent,
    SplitTable,
    canonical,
    checksum,
)
from slt_cache.files import replacing

HDF5_VERSION = ("v110", "v110")
"""Bounds of the file format, which HDF5 1.10 and later read."""
ENCODED_AT_ONCE = 65_536
"""Strings that are in memory as bytes, too."""


def write_cache(path: Path, contents: Sequence[SplitContent], progress: ProgressCallback | None = None) -> None:
    """Writes a cache of these splits, replacing an existing file.

    Raises SltCacheError if rows do not match their table: damage is never copied."""
    contents = sorted(contents, key=lambda content: canonical(content.table.metadata.split))
    with replacing(path) as temporary:
        _require_room(temporary, sum(map(_size, contents)))
        size = block_size(len(contents))
        places = _write_tables(temporary, [content.table for content in contents], size)
        rows, written = sum(len(content.table.clip_ids) for content in contents), count(1)
        with temporary.open("r+b") as file:
            for content in contents:
                file.seek(places.get(f"{content.table.metadata.split}/{FEATURES}", (size, 0))[0])
                for features in _checked(content):
                    file.write(features)
                    if progress is not None:
                        progress(next(written), rows)
        write_checksum_header(temporary, places, size)


def _size(content: SplitContent) -> int:
    """Returns the size of the features in bytes."""
    spec = content.table.metadata.spec
    return int(content.table.steps.sum()) * spec.dim * np.dtype(spec.dtype).itemsize


def _require_room(path: Path, size: int) -> None:
    """Raises OSError, before hours of writing, if the disk or the file size limit is too small."""
    free = shutil.disk_usage(path.parent).free
    if free < size:
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: it needs {size / 1e9:.2f} GB")
    with path.open("wb") as file:
        os.truncate(file.fileno(), size)


class _Recording:
    """The file that HDF5 writes to. HDF5 does not survive a full disk, so the error is withheld until HDF5 has closed
    its file."""

    def __init__(self, file: BinaryIO):
        self.file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        self._try(lambda: self.file.write(data))
        return len(data)

    def truncate(self, size: int) -> int:
        self._try(lambda: self.file.truncate(size))
        return size

    def flush(self) -> None:
        self._try(self.file.flush)

    def _try(self, action: Callable[[], Any]) -> None:
        try:
            action()
        except OSError as error:
            self.error = self.error or error

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


def _write_tables(path: Path, tables: Sequence[SplitTable], block: int) -> dict[str, tuple[int, int]]:
    """Writes everything but the features and the checksum header. Returns the place of each dataset, (offset, bytes) by
    name."""
    with path.open("w+b") as raw:
        recording = _Recording(raw)
        with h5py.File(
            recording,
            "w",
            libver=HDF5_VERSION,
            userblock_size=block,
            alignment_threshold=1,
            alignment_interval=ALIGNMENT,
        ) as file:
            file.attrs["format"] = FORMAT
            file.attrs["version"] = VERSION
            for table in tables:
                _write_table(file, table)
            for table in tables:  # last, so that everything small is at the beginning
                _make_room(
                    file[table.metadata.split],
                    (int(table.steps.sum()), table.metadata.spec.dim),
                    table.metadata.spec.dtype,
                )
            places = {
                f"{split}/{name}": (dataset.id.get_offset(), dataset.id.get_storage_size())
                for split, group in file.items()
                for name, dataset in group.items()
                if dataset.size > 0
            }
    if recording.error is not None:
        raise recording.error
    with path.open("r+b") as file:
        _fill_holes(file, places)
        return places | _spec_places(file, tables)


def _fill_holes(file: BinaryIO, places: Mapping[str, tuple[int, int]]) -> None:
    """Writes all bytes before the features once more: holes left by HDF5 have no space allocated, and on a full tmpfs a
    memory map of them would raise SIGBUS."""
    first_features = (offset for name, (offset, _) in places.items() if name.endswith(f"/{FEATURES}"))
    end = min(first_features, default=file.seek(0, os.SEEK_END))
    for first in range(0, end, CHUNK):
        data = read_bytes(file, first, min(CHUNK, end - first))
        file.seek(first)
        file.write(data)


def _spec_places(file: BinaryIO, tables: Sequence[SplitTable]) -> dict[str, tuple[int, int]]:
    """Finds the spec of each split, which HDF5 writes verbatim, in the file."""
    places: dict[str, tuple[int, int]] = {}
    ends: dict[bytes, int] = {}  # of each spec, not of all: HDF5 fills gaps, so a later one may come first
    for table in tables:
        spec = table.metadata.spec.to_json().encode()
        offset = _find(file, spec, ends.get(spec, 0))
        assert offset >= 0, "HDF5 did not write the spec verbatim"
        places[f"{table.metadata.split}/spec"] = (offset, len(spec))
        ends[spec] = offset + len(spec)
    return places


def _find(file: BinaryIO, wanted: bytes, first: int) -> int:
    """Returns where these bytes are in the file, from `first` on; -1 if nowhere."""
    while len(data := read_bytes(file, first, CHUNK + len(wanted))) >= len(wanted):
        found = data.find(wanted)
        if found >= 0:
            return first + found
        first += CHUNK
    return -1


def _write_table(file: h5py.File, table: SplitTable) -> None:
    metadata = table.metadata
    group = file.create_group(metadata.split)
    numbers: dict[str, np.ndarray] = {
        "offsets": np.concatenate([[0], np.cumsum(table.steps)]),
        "view": table.views,
        "num_frames": table.num_frames,
        "fps": table.fps,
        "checksum": table.checksums,
    }
    strings: dict[str, Sequence[str]] = {
        "clip_id": table.clip_ids,
        "text": table.texts,
        "missing": [failure.clip_id for failure in table.missing],
        "missing_reason": [failure.reason for failure in table.missing],
        **{name: values for name, values in optional_columns(table).items() if any(values)},
    }
    attributes: dict[str, Any] = {name: getattr(metadata, name) for name in FACTS}
    attributes["complete"] = int(not table.missing)
    attributes["spec_sha256"] = metadata.spec.sha256
    attributes["spec"] = metadata.spec.to_json()
    for name, value in attributes.items():
        group.attrs[name] = value
    for name, dtype in NUMBERS.items():
        group.create_dataset(name, data=numbers[name].astype(dtype))
    for name in filter(strings.__contains__, STRINGS):
        group.create_dataset(name, data=_encoded(strings[name]))


def _encoded(values: Sequence[str]) -> np.ndarray:
    """Returns UTF-8 strings of the length of the longest one. A million of them are not held twice."""
    longest = max((len(value.encode()) for value in values), default=1) or 1
    column = np.zeros(len(values), h5py.string_dtype("utf-8", longest))
    for first in range(0, len(values), ENCODED_AT_ONCE):
        some = slice(first, first + ENCODED_AT_ONCE)
        column[some] = [value.encode() for value in values[some]]
    return column


def optional_columns(table: SplitTable) -> dict[str, Sequence[str]]:
    """Returns the columns that are omitted if all of their values are empty."""
    return {SOURCE: table.sources, **{name: [getattr(one, name) for one in table.origins] for name in ORIGIN}}


def _make_room(group: h5py.Group, shape: tuple[int, int], dtype: str) -> None:
    """Creates the dataset `features`: contiguous, its place fixed, nothing written."""
    properties = h5p.create(h5p.DATASET_CREATE)
    properties.set_layout(h5d.CONTIGUOUS)
    properties.set_alloc_time(h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5d.FILL_TIME_NEVER)
    properties.set_obj_track_times(False)
    kind = {"float16": h5t.IEEE_F16LE, "float32": h5t.IEEE_F32LE}[dtype]
    h5d.create(group.id, FEATURES.encode(), kind, h5s.create_simple(shape), properties)


def _checked(content: SplitContent) -> Iterable[np.ndarray]:
    """Yields the rows, each compared with its table."""
    table, spec = content.table, content.table.metadata.spec
    dtype = np.dtype(spec.dtype).newbyteorder("<")
    for row, features in enumerate(content.rows()):
        if features.shape != (table.steps[row], spec.dim) or features.dtype != dtype:
            raise _damaged(content, row)
        if checksum(features) != table.checksums[row]:
            raise _damaged(content, row)
        yield np.ascontiguousarray(features)


def _damaged(content: SplitContent, row: int) -> SltCacheError:
    return SltCacheError(
        f"{content.source}: the features of clip {content.table.clip_ids[row]!r} are damaged; nothing was written. "
        f"See all damage: {command('cache verify', content.source)}; and extract {content.table.metadata.split} again "
        "into another file."
    )
