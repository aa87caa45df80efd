"""Features on disk, `[N, C]` per clip, and the spec that made them: the reader (format version 1).

Reads by memory map, so data-loader workers share pages and no HDF5 handle. Knows nothing of videos or models,
and needs no torch."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from slt_cache.errors import InputError, SltCacheError
from slt_cache.features.layout import (
    FACTS,
    FORMAT,
    VERSION,
    Failure,
    SplitContent,
    SplitFacts,
    SplitTable,
    canonical,
)
from slt_cache.features.seal import Seal, damaged, read_seal
from slt_cache.features.spec import FeatureSpec


@dataclass(frozen=True)
class _Mapped:
    """Where a dataset lies in the file."""

    offset: int
    """Bytes from the beginning of the file."""
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class FeaturesDiffer(InputError):
    """A cache whose spec is not the one that is asked for."""

    def __init__(self, path: Path, split: str, fields: str):
        self.fields = fields
        """Each with both values."""
        super().__init__(
            f"{path} ({split}) holds other features than this run asks for ({fields}). "
            "Extract into a new file (extract-features --features NEW.h5), replace this one "
            "(extract-features --restart), or go back to the settings of the file (--set SECTION.KEY=VALUE)."
        )


class FeatureCache(Mapping[str, np.ndarray]):
    """Clip id -> features [N, C] of one split, of view 0. Reads columns when they are asked for.

    Picklable, and safe in worker processes however they are started: what is sent is the path, and a worker that
    finds another split there than its parent raises SltCacheError."""

    def __init__(self, path: Path | str, split: str):
        """Raises InputError where the file is missing, is no feature cache, or lacks the split."""
        self.path = Path(path)
        self.split = split
        with open_cache(self.path) as file:
            self._seal: Seal = read_seal(self.path)
            if split not in file:
                held = ", ".join(file) or "nothing"
                raise InputError(
                    f"{path}: holds no split {split!r} but {held}. Add it: slt-cache extract-features --split {split}"
                )
            try:
                self._read_header(file[split])
            except (KeyError, ValueError, TypeError) as error:
                raise InputError(f"{path}: {split} does not have the layout of a cache ({error}).") from error

    def _read_header(self, group: h5py.Group) -> None:
        self.attributes: dict[str, Any] = {
            name: int(value) if name == "complete" else str(value) for name, value in group.attrs.items()
        }
        self.spec = FeatureSpec.from_json(self.attributes["spec"])
        self.complete = bool(self.attributes["complete"])
        self.rows = int(group["clip_id"].shape[0])
        self._places = {
            name: _Mapped(dataset.id.get_offset() or 0, dataset.shape, dataset.dtype) for name, dataset in group.items()
        }

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.path, self.split, self.attributes)

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
        """[N, C] of a row; clip number i has the rows from i * views on."""
        return self.features[self.offsets[row] : self.offsets[row + 1]]

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
        """int64 [rows + 1]"""
        return self._map("offsets")

    @cached_property
    def row_ids(self) -> list[str]:
        """The clip of each row."""
        return self._strings("clip_id")

    @cached_property
    def ids(self) -> list[str]:
        """Clips, in manifest order."""
        return self._strings("clip_id", self.views)

    @cached_property
    def _index_of(self) -> dict[str, int]:
        return dict(zip(self.ids, range(len(self.ids)), strict=True))

    @cached_property
    def row_texts(self) -> list[str]:
        """The sentence of each row."""
        return self._strings("text")

    @cached_property
    def texts(self) -> list[str]:
        """The sentence of each clip."""
        return self._strings("text", self.views)

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
        return [value.decode() for value in self._map(name)[::every].tolist()]

    def _map(self, name: str) -> np.ndarray:
        """A dataset as a read-only memory map. Raises InputError where a column does not have its checksum, and
        SltCacheError where the file is another than the one that was opened."""
        place = self._places[name]
        if 0 in place.shape:
            return np.empty(place.shape, place.dtype)
        if read_seal(self.path) != self._seal:  # else another split added meanwhile would shift what is read here
            raise SltCacheError(f"{self.path}: {self.split} was replaced while it was read. Run the command again.")
        for column in damaged(self.path, self._seal, [f"{self.split}/{name}"]):
            raise InputError(f"{self.path}: {column} is damaged. Extract it again.")
        return np.asarray(np.memmap(self.path, place.dtype, "r", place.offset, place.shape))

    def require_spec(self, asked: FeatureSpec | Mapping[str, Any]) -> None:
        """Refuses features that are others than this run asks for; of a mapping, only its fields are compared."""
        different = self.spec.differences(asked)
        if different:
            raise FeaturesDiffer(self.path, self.split, "; ".join(different))

    @property
    def facts(self) -> SplitFacts:
        return SplitFacts(self.split, self.spec, **{name: self.attributes[name] for name in FACTS})

    def content(self) -> SplitContent:
        """The split as it is copied into another file. Keeps nothing open: a cache is put together of thousands of
        parts, each of whose maps is an open file, and a process may have a thousand."""
        table = SplitTable(
            facts=self.facts,
            clip_ids=self.row_ids,
            texts=self.row_texts,
            num_frames=np.array(self.column("num_frames")),
            fps=np.array(self.column("fps")),
            steps=np.diff(self.offsets),
            checksums=np.array(self.column("checksum")),
            missing=self.missing,
        )
        return SplitContent(table, partial(_rows, self.path, self.split, self.attributes), str(self.path))


def _rows(path: Path, split: str, attributes: Mapping[str, Any]) -> Iterator[np.ndarray]:
    cache = _reopen(path, split, attributes)
    yield from map(cache.row, range(cache.rows))


def _reopen(path: Path, split: str, attributes: Mapping[str, Any]) -> FeatureCache:
    """In another process, or later. Raises SltCacheError where the file has been replaced meanwhile."""
    cache = FeatureCache(path, split)
    if cache.attributes != attributes:
        raise SltCacheError(f"{path}: {split} was replaced while it was read. Run the command again.")
    return cache


def open_cache(path: Path) -> h5py.File:
    """Opens a feature cache for reading. Raises InputError for anything else, and for damage outside of columns."""
    if not path.is_file():
        raise InputError(f"{path}: there is no such feature cache. Make it: slt-cache extract-features --split train")
    seal = read_seal(path)
    for place in damaged(path, seal, [name for name in seal if name.endswith("/spec")]):
        raise InputError(f"{path}: {place} is damaged. Extract it again.")
    file = h5py.File(path, "r")
    version = int(file.attrs.get("version", 0))
    if file.attrs.get("format") != FORMAT or version > VERSION:
        file.close()
        raise InputError(f"{path}: format version {version}; this slt-cache reads up to {VERSION}. Update slt-cache.")
    return file


def cached_splits(path: Path) -> list[str]:
    """The splits that a cache file holds, train first. Raises InputError where there is no such file."""
    with open_cache(path) as file:
        return sorted(file, key=canonical)
