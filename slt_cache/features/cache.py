"""Features on disk, `[N, C]` per clip, and the spec that made them: one split of a cache file (format version 1).

Reads by memory map, so data-loader workers share pages and no HDF5 handle. Knows nothing of videos or models,
and needs no torch."""

import hashlib
from collections.abc import Iterator, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from slt_cache.advice import cache_command, command
from slt_cache.corpora.base import NOWHERE, Origin
from slt_cache.errors import InputError, SltCacheError
from slt_cache.features.arrays import StepArray
from slt_cache.features.checksum_header import AGAIN
from slt_cache.features.file import FOREIGN, CacheFile
from slt_cache.features.layout import FACTS, ORIGIN, SOURCE, Failure, SplitContent, SplitMetadata, SplitTable, checksum
from slt_cache.features.place import UrlPath
from slt_cache.features.spec import IMPORTED, FeatureSpec

_read_before: dict[tuple[Any, ...], bytearray] = {}
"""By file and split, one byte per row: 1 if it was compared with its checksum in this process."""


class FeaturesDiffer(InputError):
    """Raised for a cache whose spec is not the requested one."""

    def __init__(self, path: Path, split: str, fields: str):
        self.path = path
        self.fields = fields
        """The fields that differ, each with both values."""
        super().__init__(
            f"{path} ({split}) holds other features than this run asks for ({fields}). "
            f"Extract into a new file ({cache_command('extract-features', path.with_name('NEW.h5'))}), "
            f"replace this one ({cache_command('extract-features --restart', path)}), "
            "or go back to the settings of the file (--set SECTION.KEY=VALUE)."
        )


class FeatureCache(Mapping[str, np.ndarray]):
    """Mapping from clip ids to features [N, C] of one split and view 0. Reads columns when they are needed.

    Picklable, and safe in worker processes however they are started: only the path is sent, and a worker that finds
    another split there than its parent raises SltCacheError."""

    def __init__(self, path: Path | str | CacheFile, split: str, verify: bool = True):
        """Opens a split; several splits of one file share a CacheFile. With `verify` each row is compared with its
        checksum when it is first read in a process.

        Raises InputError if the file is missing, is no feature cache, or lacks the split."""
        self.file = path if isinstance(path, CacheFile) else CacheFile(path)
        self.path = self.file.path
        self.split = split
        self.verify = verify
        header = self.file.header(split)
        self.attributes, self.spec, self._places = header.attributes, header.spec, header.places
        self.complete = bool(self.attributes["complete"])
        self.rows = self._places["clip_id"].shape[0]

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.path, self.split, self.attributes, self.verify)

    def __repr__(self) -> str:
        return f"FeatureCache({str(self.path)!r}, {self.split!r}): {len(self)} clips"

    def __len__(self) -> int:
        """Returns the number of clips, whatever the number of their views."""
        return self.rows // self.views

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __contains__(self, clip_id: object) -> bool:
        return clip_id in self._index_of

    def __getitem__(self, clip_id: str) -> np.ndarray:
        """Returns view 0, [N, C], read-only. Raises KeyError for a clip that is not in the split."""
        return self.row(self._index_of[clip_id] * self.views)

    def view(self, clip_id: str, view: int) -> np.ndarray:
        """Returns any view, [N, C]; N may differ between views. Raises KeyError for an unknown clip, IndexError for an
        unknown view."""
        if not 0 <= view < self.views:
            raise IndexError(f"view {view}: {self.path} has views 0 to {self.views - 1}")
        return self.row(self._index_of[clip_id] * self.views + view)

    def row(self, row: int) -> np.ndarray:
        """Returns a row, [N, C]; clip number i has the rows from i * views on. Raises SltCacheError if the file has
        been truncated, or if the row does not match its checksum when it is first read in this process."""
        self.file.require_length(self.split)
        features = self.features[self.offsets[row] : self.offsets[row + 1]]
        if self.verify and not self._compared[row]:
            self._require_whole(row, features)
        return features

    @cached_property
    def _compared(self) -> bytearray:
        """Rows that have been compared, shared by all readers of the same file in this process."""
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
        self._compared[row] = not isinstance(self.path, UrlPath)  # which may arrive damaged the next time

    @cached_property
    def _sums(self) -> np.ndarray:
        return self.column("checksum")

    @property
    def views(self) -> int:
        """Number of views per clip, at least 1."""
        return self.spec.views

    @property
    def dim(self) -> int:
        """C, feature channels."""
        return self._places["features"].shape[1]

    @cached_property
    def features(self) -> np.ndarray | StepArray:
        """All rows of the split, [sum N, C], memory-mapped; of a remote cache, or one of several files, an array that
        is read where it is sliced."""
        return self.file.features(self.split)

    @cached_property
    def offsets(self) -> np.ndarray:
        """Boundaries of the rows in `features`, int64 [rows + 1]. Raises InputError unless they rise from 0 to its
        length."""
        offsets = self.column("offsets")
        if offsets[0] != 0 or offsets[-1] != self._places["features"].shape[0] or (offsets[1:] <= offsets[:-1]).any():
            raise self._foreign(f"{self.split}/offsets do not rise from 0 to the last row of features")
        return offsets

    @property
    def lengths(self) -> np.ndarray:
        """N of each row, int64 [rows]."""
        return np.diff(self.offsets)

    @property
    def steps(self) -> np.ndarray:
        """int64, N of each clip in view 0; another view may differ by a step."""
        return self.lengths[:: self.views]

    @property
    def is_imported(self) -> bool:
        """Whether the features were made elsewhere."""
        return self.spec.level == IMPORTED

    @cached_property
    def row_ids(self) -> list[str]:
        """Clip id of each row."""
        return self._strings("clip_id")

    @cached_property
    def ids(self) -> list[str]:
        """Clip ids in manifest order. Raises InputError if an id is empty or occurs twice."""
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
        """Sentence of each row."""
        return self._strings("text")

    @cached_property
    def texts(self) -> list[str]:
        """Sentence of each clip."""
        return self._strings("text", self.views)

    @cached_property
    def row_sources(self) -> list[str]:
        """Fingerprint of the source of each row (corpora/fingerprint.py); empty strings if unknown."""
        return self._strings(SOURCE) if SOURCE in self._places else [""] * self.rows

    @property
    def sources(self) -> list[str]:
        """Fingerprint of the source of each clip."""
        return self.row_sources[:: self.views]

    @cached_property
    def row_origins(self) -> list[Origin]:
        """Corpus and language of each row; empty strings if the manifest did not say."""
        if self._places.keys().isdisjoint(ORIGIN):
            return [NOWHERE] * self.rows  # one for all: there may be millions
        columns = (self._strings(name) if name in self._places else [""] * self.rows for name in ORIGIN)
        return [Origin(*values) for values in zip(*columns, strict=True)]

    @cached_property
    def origins(self) -> list[Origin]:
        """Corpus and language of each clip."""
        return self.row_origins[:: self.views]

    @property
    def languages(self) -> dict[str, str]:
        """Language of each clip's sentence, by id; empty if the manifest did not say."""
        found = zip(self.ids, self.origins, strict=True)
        return {clip_id: origin.language for clip_id, origin in found if origin.language}

    @property
    def clips_sha256(self) -> str:
        """Hash of id, sentence and source of every clip with features, in order, and of its language if it has one; if
        a source is unknown, the checksum of the features is used instead."""
        digest = hashlib.sha256()
        checksums = self.column("checksum")[:: self.views].tolist()
        columns = (self.ids, self.texts, self.sources, checksums, self.origins)
        for clip_id, text, source, crc, origin in zip(*columns, strict=True):
            language = origin.language and f"\t{origin.language}"
            digest.update(f"{clip_id}\t{text}\t{source or crc}{language}\n".encode())
        return digest.hexdigest()

    @cached_property
    def missing(self) -> tuple[Failure, ...]:
        """Clips of the manifest without features, and why."""
        return tuple(map(Failure, self._strings("missing"), self._strings("missing_reason")))

    def column(self, name: str) -> np.ndarray:
        """Returns a column of the file, such as view, num_frames, fps or checksum, one number per row. Raises
        InputError if it does not match its checksum, and SltCacheError if the file has been replaced since it was
        opened."""
        return self.file.column(self.split, name)

    @property
    def num_frames(self) -> np.ndarray:
        """T, source frames of each clip, int32."""
        return self.column("num_frames")[:: self.views]

    def _strings(self, name: str, every: int = 1) -> list[str]:
        try:
            return [value.decode() for value in self.column(name)[::every].tolist()]
        except UnicodeDecodeError as error:
            raise self._foreign(f"{self.split}/{name} is not UTF-8") from error

    def _foreign(self, what: str) -> InputError:
        return InputError(f"{self.path}: {what}; {FOREIGN}")

    def require_spec(self, requested: FeatureSpec | Mapping[str, Any]) -> None:
        """Raises FeaturesDiffer unless the spec is the requested one; of a mapping, only its fields are compared."""
        different = self.spec.differences(requested)
        if different:
            raise FeaturesDiffer(self.path, self.split, "; ".join(different))

    @property
    def metadata(self) -> SplitMetadata:
        return SplitMetadata(self.split, self.spec, **{name: self.attributes[name] for name in FACTS})

    def content(self) -> SplitContent:
        """Returns the split for copying into another file. Keeps nothing open: a cache is assembled from thousands of
        parts, and a process may have only about a thousand open files."""
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
            origins=self.row_origins,
        )
        return SplitContent(table, partial(_rows, self.path, self.split, self.attributes), str(self.path))


def _rows(path: Path, split: str, attributes: Mapping[str, Any]) -> Iterator[np.ndarray]:
    """Yields the rows without comparing them with their checksums, which the writer does."""
    cache = _reopen(path, split, attributes, verify=False)
    yield from map(cache.row, range(cache.rows))


def _reopen(path: Path, split: str, attributes: Mapping[str, Any], verify: bool) -> FeatureCache:
    """Opens a split in another process, or later. Raises SltCacheError if it has been replaced in the meantime."""
    cache = FeatureCache(path, split, verify)
    if cache.attributes != attributes:
        raise SltCacheError(f"{path}: {split} was replaced while it was read. Run the command again.")
    return cache


def open_splits(path: Path | CacheFile, verify: bool = True) -> dict[str, FeatureCache]:
    """Opens all splits of a cache file, by name, train first; the file is opened once. Raises InputError like
    FeatureCache."""
    file = path if isinstance(path, CacheFile) else CacheFile(path)
    return {split: FeatureCache(file, split, verify) for split in file.splits}
