"""Features on disk, `[N, C]` per clip, and the spec that made them: the reader (format version 1).

Reads by memory map, so data-loader workers share pages and no HDF5 handle. Knows nothing of videos or models,
and needs no torch."""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from slt_cache.errors import InputError
from slt_cache.features.spec import FeatureSpec

FORMAT = "slt-cache features"
VERSION = 1


@dataclass(frozen=True)
class _Mapped:
    """Where the features of a split lie in the file."""

    offset: int
    """Bytes from the beginning of the file."""
    shape: tuple[int, int]
    dtype: str


class FeatureCache(Mapping[str, np.ndarray]):
    """Clip id -> features [N, C] of one split. Picklable; may be used in any process."""

    def __init__(self, path: Path, split: str):
        """Raises InputError where the file is missing, is no feature cache, or lacks the split."""
        self.path = Path(path)
        self.split = split
        with open_cache(self.path) as file:
            if split not in file:
                held = ", ".join(file) or "nothing"
                raise InputError(
                    f"{path}: holds no split {split!r} but {held}. Add it: slt-cache extract-features --split {split}"
                )
            group = file[split]
            self.spec = FeatureSpec.from_json(group.attrs["spec"])
            self.complete = bool(group.attrs["complete"])
            self.missing: tuple[str, ...] = tuple(group.attrs.get("missing", ()))
            self.attributes: dict[str, Any] = {
                name: value for name, value in group.attrs.items() if name not in ("spec", "missing", "complete")
            }
            self.ids = [clip_id.decode() for clip_id in group["clip_id"][:]]
            self.texts = [text.decode() for text in group["text"][:]]
            self.num_frames = group["num_frames"][:]
            self.views = group["view"][:]
            self.offsets = group["offsets"][:]
            self.checksums = group["checksum"][:]
            features = group["features"]
            self._mapped = _Mapped(features.id.get_offset() or 0, features.shape, features.dtype.str)
        self._row_of = dict[str, int]()
        for row, clip_id in enumerate(self.ids):
            self._row_of.setdefault(clip_id, row)  # view 0 comes first
        self._features: np.ndarray | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_features": None}  # a memory map is opened anew, never sent

    def __len__(self) -> int:
        return len(self._row_of)

    def __iter__(self) -> Iterator[str]:
        return iter(self._row_of)

    def __getitem__(self, clip_id: str) -> np.ndarray:
        """[N, C] of view 0, read-only. Raises KeyError for a clip that is not in the split."""
        row = self._row_of[clip_id]
        return self.features[self.offsets[row] : self.offsets[row + 1]]

    @property
    def features(self) -> np.ndarray:
        """All rows of the split, [sum N, C], mapped at the first use."""
        if self._features is None:
            place = self._mapped
            if place.shape[0] == 0:
                self._features = np.empty(place.shape, place.dtype)
            else:
                self._features = np.memmap(self.path, place.dtype, "r", place.offset, place.shape)
        return self._features

    @property
    def dim(self) -> int:
        """C"""
        return self._mapped.shape[1]

    def damaged(self) -> list[str]:
        """Ids of the clips whose bytes do not have the checksum that was written with them."""
        return [
            clip_id
            for row, clip_id in enumerate(self.ids)
            if checksum(self.features[self.offsets[row] : self.offsets[row + 1]]) != self.checksums[row]
        ]

    def require_spec(self, asked: FeatureSpec) -> None:
        """Refuses features that are others than this run asks for."""
        different = self.spec.differences(asked)
        if different:
            raise InputError(
                f"{self.path} holds other features than this run asks for ({'; '.join(different)}). "
                "Extract into a new file (--features NEW.h5), replace this one (extract-features --restart), "
                "or go back to the settings of the file."
            )


def open_cache(path: Path) -> h5py.File:
    """Opens a feature cache for reading. Raises InputError for anything else."""
    if not path.is_file():
        raise InputError(f"{path}: there is no such feature cache. Make it: slt-cache extract-features --split train")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise InputError(f"{path}: not a whole HDF5 file. Delete it and extract again.") from error
    if file.attrs.get("format") != FORMAT:
        file.close()
        raise InputError(f"{path}: an HDF5 file, but no slt-cache feature cache.")
    if file.attrs["version"] > VERSION:
        version = file.attrs["version"]
        file.close()
        raise InputError(f"{path}: format version {version}; this slt-cache reads up to {VERSION}. Update slt-cache.")
    return file


def cached_splits(path: Path) -> list[str]:
    """The splits that a cache file holds. Raises InputError where there is no such file."""
    with open_cache(path) as file:
        return list(file)


def checksum(features: np.ndarray) -> int:
    """CRC-32 of the bytes of one clip's features."""
    return zlib.crc32(np.ascontiguousarray(features).tobytes())
