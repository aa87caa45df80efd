"""Features on disk, `[N, C]` per clip, and the spec that made them: the reader (format version 1).

Reads by memory map, so data-loader workers share pages and no HDF5 handle. Knows nothing of videos or models,
and needs no torch."""

import hashlib
import math
import mmap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from slt_cache.advice import cache_command, command
from slt_cache.errors import InputError, SltCacheError
from slt_cache.features.layout import (
    FACTS,
    FORMAT,
    SOURCE,
    VERSION,
    Failure,
    SplitContent,
    SplitMetadata,
    SplitTable,
    canonical,
    checksum,
)
from slt_cache.features.seal import AGAIN, ChecksumHeader, damaged, read_checksum_header
from slt_cache.features.spec import FeatureSpec
from slt_cache.features.structure import BadStructure, read_root, read_split, split_names

_read_before: dict[tuple[Any, ...], bytearray] = {}
"""A byte for each row of a split that was compared with its checksum in this process, by file and split."""


class FeaturesDiffer(InputError):
    """A cache whose spec is not the one that is asked for."""

    def __init__(self, path: Path, split: str, fields: str):
        self.fields = fields
        """Each with both values."""
        super().__init__(
            f"{path} ({split}) holds other features than this run asks for ({fields}). "
            f"Extract into a new file ({cache_command('extract-features', path.with_name('NEW.h5'))}), "
            f"replace this one ({cache_command('extract-features --restart', path)}), "
            "or go back to the settings of the file (--set SECTION.KEY=VALUE)."
        )


class FeatureCache(Mapping[str, np.ndarray]):
    """Clip id -> features [N, C] of one split, of view 0. Reads columns when they are asked for.

    Picklable, and safe in worker processes however they are started: what is sent is the path, and a worker that
    finds another split there than its parent raises SltCacheError."""

    def __init__(self, path: Path | str, split: str, verify: bool = True):
        """With `verify` each row is compared with its checksum when it is first read in a process. Raises InputError
        where the file is missing, is no feature cache, or lacks the split."""
        self.path = Path(path)
        self.split = split
        self.verify = verify
        with _opened(self.path) as (file, seal):
            self._seal: ChecksumHeader = seal
            held = split_names(file)
            if split not in held:
                raise InputError(
                    f"{path}: holds no split {split!r} but {', '.join(held) or 'nothing'}. "
                    f"Add it: {cache_command('extract-features', path, split=split)}"
                )
            header = read_split(file, split, seal)
        self.attributes, self.spec, self._places = header.attributes, header.spec, header.places
        self.complete = bool(self.attributes["complete"])
        self.rows = self._places["clip_id"].shape[0]

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.path, self.split, self.attributes, self.verify)

    def __repr__(self) -> str:
        return f"FeatureCache({str(self.path)!r}, {self.split!r}): {len(self)} clips"

    def __len__(self) -> int:
        """Clips, whatever the number of their views."""
        return self.rows // self.views

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __contains__(self, clip_id: object) -> bool:
        return clip_id in self._index_of

    def __getitem__(self, clip_id: str) -> np.ndarray:
        """[N, C] of view 0, read-only. Raises KeyError for a clip that is not in the split."""
        return self.row(self._index_of[clip_id] * self.views)

    def view(self, clip_id: str, view: int) -> np.ndarray:
        """[N, C] of any view; N may differ from view to view. Raises KeyError, or IndexError for a view that is not
        there."""
        if not 0 <= view < self.views:
            raise IndexError(f"view {view}: {self.path} has views 0 to {self.views - 1}")
        return self.row(self._index_of[clip_id] * self.views + view)

    def row(self, row: int) -> np.ndarray:
        """[N, C] of a row; clip number i has the rows from i * views on. Raises SltCacheError if the file has been cut
        off, or if the row does not have its checksum when it is first read in this process."""
        self._require_length()
        features = self.features[self.offsets[row] : self.offsets[row + 1]]
        if self.verify and not self._compared[row]:
            self._require_whole(row, features)
        return features

    @cached_property
    def _mapped(self) -> mmap.mmap:
        """The file, which stays readable even if another one takes its name."""
        with self.path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def _require_length(self) -> None:
        """Raises SltCacheError if the file has become shorter: to touch a page past its end would end the process with
        SIGBUS."""
        size, mapped = self._mapped.size(), len(self._mapped)
        if size < mapped:
            raise SltCacheError(
                f"{self.path}: was cut off while it was read: {size:,} of {mapped:,} bytes are left. {AGAIN} "
                "Copy nothing onto a cache that is in use."
            )

    @cached_property
    def _compared(self) -> bytearray:
        """Shared by all that read the same file in this process."""
        status = self.path.stat()
        file = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, self.split, self.rows)
        return _read_before.setdefault(file, bytearray(self.rows))

    def _require_whole(self, row: int, features: np.ndarray) -> None:
        if checksum(features) != self._sums[row]:
            view = f", view {row % self.views}," if self.views > 1 else ""
            raise SltCacheError(
                f"{self.path}: the features of clip {self.ids[row // self.views]!r} of {self.split}{view} are damaged. "
                f"{AGAIN} See all damage: {command('cache verify', self.path)}"
            )
        self._compared[row] = 1

    @cached_property
    def _sums(self) -> np.ndarray:
        return self.column("checksum")

    @property
    def views(self) -> int:
        """Views of each clip, at least 1."""
        return self.spec.views

    @property
    def dim(self) -> int:
        """C"""
        return self._places["features"].shape[1]

    @cached_property
    def features(self) -> np.ndarray:
        """All rows of the split, [sum N, C], memory-mapped."""
        return self._map("features")

    @cached_property
    def offsets(self) -> np.ndarray:
        """int64 [rows + 1]. Raises InputError where they do not rise from 0 to the last row of features."""
        offsets = self._map("offsets")
        if offsets[0] != 0 or offsets[-1] != self._places["features"].shape[0] or (offsets[1:] <= offsets[:-1]).any():
            raise self._foreign(f"{self.split}/offsets do not rise from 0 to the last row of features")
        return offsets

    @cached_property
    def row_ids(self) -> list[str]:
        """The clip of each row."""
        return self._strings("clip_id")

    @cached_property
    def ids(self) -> list[str]:
        """Clips, in manifest order. Raises InputError where one has no id, or two have the same."""
        return list(self._index_of)

    @cached_property
    def _index_of(self) -> dict[str, int]:
        ids = self._strings("clip_id", self.views)
        numbers = dict(zip(ids, range(len(ids)), strict=True))
        if len(numbers) != len(ids) or "" in numbers:
            raise self._foreign(f"{self.split}/clip_id has {'an empty id' if '' in numbers else 'a clip twice'}")
        return numbers

    @cached_property
    def row_texts(self) -> list[str]:
        """The sentence of each row."""
        return self._strings("text")

    @cached_property
    def texts(self) -> list[str]:
        """The sentence of each clip."""
        return self._strings("text", self.views)

    @cached_property
    def row_sources(self) -> list[str]:
        """What the features of each row were made of (corpora/fingerprint.py); empty strings if that is not known."""
        return self._strings(SOURCE) if SOURCE in self._places else [""] * self.rows

    @property
    def sources(self) -> list[str]:
        """What the features of each clip were made of."""
        return self.row_sources[:: self.views]

    @property
    def clips_sha256(self) -> str:
        """Over id, sentence and source of every clip that has features, in order; if the source of a clip is not known,
        the checksum of its features stands for it."""
        digest = hashlib.sha256()
        checksums = self.column("checksum")[:: self.views].tolist()
        for clip_id, text, source, crc in zip(self.ids, self.texts, self.sources, checksums, strict=True):
            digest.update(f"{clip_id}\t{text}\t{source or crc}\n".encode())
        return digest.hexdigest()

    @cached_property
    def missing(self) -> tuple[Failure, ...]:
        """Clips of the manifest that have no features, and why."""
        return tuple(map(Failure, self._strings("missing"), self._strings("missing_reason")))

    def column(self, name: str) -> np.ndarray:
        """A column of numbers, one a row: view, num_frames, fps or checksum."""
        return self._map(name)

    @property
    def num_frames(self) -> np.ndarray:
        """int32, T of each clip."""
        return self.column("num_frames")[:: self.views]

    def _strings(self, name: str, every: int = 1) -> list[str]:
        try:
            return [value.decode() for value in self._map(name)[::every].tolist()]
        except UnicodeDecodeError as error:
            raise self._foreign(f"{self.split}/{name} is not UTF-8") from error

    def _foreign(self, what: str) -> InputError:
        return InputError(f"{self.path}: {what}; {FOREIGN}")

    def _map(self, name: str) -> np.ndarray:
        """A dataset as a read-only memory map. Raises InputError where a column does not have its checksum, and
        SltCacheError where the file is another than the one that was opened."""
        place = self._places[name]
        if 0 in place.shape:
            return np.empty(place.shape, place.dtype)
        if (
            read_checksum_header(self.path) != self._seal
        ):  # else another split added meanwhile would shift what is read here
            raise SltCacheError(f"{self.path}: {self.split} was replaced while it was read. Run the command again.")
        for column in damaged(self.path, self._seal, [f"{self.split}/{name}"]):
            raise InputError(f"{self.path}: {column} is damaged. {AGAIN}")
        self._require_length()
        return np.frombuffer(self._mapped, place.dtype, math.prod(place.shape), place.offset).reshape(place.shape)

    def require_spec(self, asked: FeatureSpec | Mapping[str, Any]) -> None:
        """Refuses features that are others than this run asks for; of a mapping, only its fields are compared."""
        different = self.spec.differences(asked)
        if different:
            raise FeaturesDiffer(self.path, self.split, "; ".join(different))

    @property
    def metadata(self) -> SplitMetadata:
        return SplitMetadata(self.split, self.spec, **{name: self.attributes[name] for name in FACTS})

    def content(self) -> SplitContent:
        """The split as it is copied into another file. Keeps nothing open: a cache is put together of thousands of
        parts, each of whose maps is an open file, and a process may have a thousand."""
        table = SplitTable(
            metadata=self.metadata,
            clip_ids=self.row_ids,
            texts=self.row_texts,
            num_frames=np.array(self.column("num_frames")),
            fps=np.array(self.column("fps")),
            steps=np.diff(self.offsets),
            checksums=np.array(self.column("checksum")),
            missing=self.missing,
            sources=self.row_sources,
        )
        return SplitContent(table, partial(_rows, self.path, self.split, self.attributes), str(self.path))


def _rows(path: Path, split: str, attributes: Mapping[str, Any]) -> Iterator[np.ndarray]:
    """Not compared with their checksums: whoever writes them does that."""
    cache = _reopen(path, split, attributes, verify=False)
    yield from map(cache.row, range(cache.rows))


def _reopen(path: Path, split: str, attributes: Mapping[str, Any], verify: bool) -> FeatureCache:
    """In another process, or later. Raises SltCacheError where the file has been replaced meanwhile."""
    cache = FeatureCache(path, split, verify)
    if cache.attributes != attributes:
        raise SltCacheError(f"{path}: {split} was replaced while it was read. Run the command again.")
    return cache


FOREIGN = "no slt-cache wrote this file, and nothing is read from it. Extract the features again, or ask who made it."


@contextmanager
def _opened(path: Path) -> Iterator[tuple[h5py.File, ChecksumHeader]]:
    """A feature cache, open for reading, and its seal. Raises InputError for anything else, for damage outside of
    columns, and for a structure that is not that of the format."""
    if not path.is_file():
        raise InputError(
            f"{path}: there is no such feature cache. Make it: {cache_command('extract-features --split train', path)}"
        )
    seal = read_checksum_header(path)
    for place in damaged(path, seal, [name for name in seal if name.endswith("/spec")]):
        raise InputError(f"{path}: {place} is damaged. {AGAIN}")
    try:
        with h5py.File(path, "r") as file:
            form, version = read_root(file)
            if form != FORMAT or version > VERSION:
                raise InputError(
                    f"{path}: format version {version}; this slt-cache reads up to {VERSION}. Update slt-cache."
                )
            yield file, seal
    except BadStructure as error:
        raise InputError(f"{path}: {error}; {FOREIGN}") from error
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError) as error:  # whatever HDF5 says
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"{path}: HDF5 cannot read it ({reason}); {FOREIGN}") from error


def cached_splits(path: Path) -> list[str]:
    """The splits that a cache file holds, train first. Raises InputError where there is no such file."""
    with _opened(path) as (file, _):
        return sorted(split_names(file), key=canonical)
