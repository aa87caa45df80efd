"""Opens a feature cache, one file or a folder of them, and checks it once: checksum headers and the structure of every
split. Reads columns as memory maps, or ranges of a remote file. What the columns mean is defined by the views of its
splits (cache.py)."""

import math
import mmap
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np

from slt_cache.advice import cache_command
from slt_cache.errors import InputError, SltCacheError
from slt_cache.features.arrays import JoinedArray, RangeArray, StepArray
from slt_cache.features.checksum_header import AGAIN, FEATURES, ChecksumHeader, damaged, read_checksum_header
from slt_cache.features.folder import IndexedFile, header_sha256, joined_header, read_index
from slt_cache.features.layout import FORMAT, VERSION, canonical
from slt_cache.features.place import INDEX_FILE, UrlPath, is_cache, located
from slt_cache.features.structure import BadStructure, Place, SplitHeader, read_root, read_split, split_names

FOREIGN = "no slt-cache wrote this file, and nothing is read from it. Extract the features again, or ask who made it."


class CacheFile:
    """An open feature cache: one HDF5 file, or a folder of several that are read as one. Holds no HDF5 handle, and
    stays readable even if another file takes its name."""

    def __init__(self, path: Path | str):
        """Opens the file or folder, or a URL of either. Raises InputError if it is missing or is no feature cache."""
        self.path = located(path)
        require_cache(self.path)
        self._files: dict[str, list[HdfFile]] = {}
        if self.path.is_file():
            file = HdfFile(self.path)
            self._files = {split: [file] for split in file.headers}
        else:
            for entry in read_index(self.path).files:
                self._files.setdefault(entry.split, []).append(_indexed(self.path, entry))
        self._files = {split: self._files[split] for split in sorted(self._files, key=canonical)}
        self._headers = {
            split: joined_header([file.headers[split] for file in files], f"{self.path}, {split}")
            for split, files in self._files.items()
        }

    @property
    def splits(self) -> list[str]:
        """Names of the splits, train first."""
        return list(self._headers)

    @property
    def files(self) -> list[Path]:
        """All HDF5 files, in order."""
        return list(dict.fromkeys(file.path for files in self._files.values() for file in files))

    @property
    def size(self) -> int:
        """Size in bytes on disk."""
        index = [self.path / INDEX_FILE] if self.path.is_dir() else []
        return sum(path.stat().st_size for path in (*self.files, *index))

    def header(self, split: str) -> SplitHeader:
        """Returns attributes, spec and places of a split. Raises InputError, which lists the splits, if there is no
        such split."""
        if split not in self._headers:
            raise InputError(
                f"{self.path}: holds no split {split!r} but {', '.join(self._headers) or 'nothing'}. "
                f"Add it: {cache_command('extract-features', self.path, split=split)}"
            )
        return self._headers[split]

    def column(self, split: str, name: str) -> np.ndarray:
        """Returns a dataset other than the features of several files: a read-only memory map, or one array of several.
        Raises InputError if it does not match its checksum, and SltCacheError if the file has been replaced since it
        was opened."""
        files = self._files[split]
        if len(files) == 1:
            return files[0].column(split, name)
        if name == "offsets":
            return self._offsets(split)
        return np.concatenate([file.optional_column(split, name) for file in files])

    def _offsets(self, split: str) -> np.ndarray:
        found, total = [np.zeros(1, np.int64)], 0
        for file in self._files[split]:
            own, steps = file.column(split, "offsets"), file.headers[split].places[FEATURES].shape[0]
            if own[0] != 0 or own[-1] != steps:
                raise InputError(
                    f"{file.path}: {split}/offsets do not rise from 0 to the last row of features; {FOREIGN}"
                )
            found.append(own[1:] + total)
            total += steps
        return np.concatenate(found)

    def features(self, split: str) -> "np.ndarray | StepArray":
        """Returns all steps of a split, [sum N, C]: memory-mapped, or read where they are sliced if they are in several
        files or remote. Raises errors like `column`."""
        files = self._files[split]
        if len(files) == 1:
            return files[0].features(split)
        lengths = [file.headers[split].places[FEATURES].shape[0] for file in files]
        place = self._headers[split].places[FEATURES]
        return JoinedArray(lengths, place.shape[1], place.dtype, lambda number: files[number].features(split))

    def require_length(self, split: str) -> None:
        """Raises SltCacheError if the only file of a split has become shorter; several check themselves."""
        files = self._files[split]
        if len(files) == 1:
            files[0].require_length()


def _indexed(folder: Path, entry: IndexedFile) -> "HdfFile":
    """Opens a file of a folder. Raises InputError if it is not the one that the index names."""
    path = folder / entry.name
    file = HdfFile(path)
    if header_sha256(path) != entry.sha256 or list(file.headers) != [entry.split]:
        raise InputError(f"{path}: not the file that {folder / INDEX_FILE} names. {AGAIN}")
    return file


class HdfFile:
    """One HDF5 file of a cache."""

    def __init__(self, path: Path):
        """Opens the file. Raises InputError if it is missing or is no feature cache."""
        self.path = path
        with _opened(self.path) as (file, header):
            self._checksum_header = header
            names = sorted(split_names(file), key=canonical)
            self.headers = {split: read_split(file, split, header) for split in names}
        self._version = path.version if isinstance(path, UrlPath) else ""

    def column(self, split: str, name: str) -> np.ndarray:
        """Returns a dataset as a read-only array. Raises InputError and SltCacheError like CacheFile."""
        place = self.headers[split].places[name]
        if 0 in place.shape:
            return np.empty(place.shape, place.dtype)
        if isinstance(self.path, UrlPath):
            return self._fetched(self.path, f"{split}/{name}", place)
        # a split added in the meantime would shift what is read here
        if read_checksum_header(self.path) != self._checksum_header:
            raise self._replaced(split)
        for column in damaged(self.path, self._checksum_header, [f"{split}/{name}"]):
            raise InputError(f"{self.path}: {column} is damaged. {AGAIN}")
        self.require_length()
        return np.frombuffer(self._mapped, place.dtype, math.prod(place.shape), place.offset).reshape(place.shape)

    def _replaced(self, split: str) -> SltCacheError:
        return SltCacheError(f"{self.path}: {split} was replaced while it was read. Run the command again.")

    def _fetched(self, path: UrlPath, name: str, place: Place) -> np.ndarray:
        if path.version != self._version:
            raise self._replaced(name.rpartition("/")[0])
        data = path.read_range(place.offset, place.offset + place.size)
        if zlib.crc32(data) != self._checksum_header[name].crc:
            raise InputError(f"{path}: {name} is damaged. {AGAIN}")
        return np.frombuffer(data, place.dtype).reshape(place.shape)

    def optional_column(self, split: str, name: str) -> np.ndarray:
        """Returns a dataset, or empty strings if the file omits it because all of its values are empty."""
        header = self.headers[split]
        if name in header.places:
            return self.column(split, name)
        return np.zeros(header.places["clip_id"].shape, "S1")

    def features(self, split: str) -> "np.ndarray | StepArray":
        """Returns the steps of a split. Raises errors like `column`."""
        place = self.headers[split].places[FEATURES]
        if isinstance(self.path, UrlPath):
            return RangeArray(self.path, place)
        if split not in self._features:
            self._features[split] = self.column(split, FEATURES)
        self.require_length()
        return self._features[split]

    @cached_property
    def _features(self) -> dict[str, np.ndarray]:
        """Features by split, as far as they were read."""
        return {}

    @cached_property
    def _mapped(self) -> mmap.mmap:
        with self.path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def require_length(self) -> None:
        """Raises SltCacheError if the file has become shorter: touching a page past its end would end the process with
        SIGBUS."""
        if isinstance(self.path, UrlPath):
            return
        size, mapped = self._mapped.size(), len(self._mapped)
        if size < mapped:
            raise SltCacheError(
                f"{self.path}: was truncated while it was read: {size:,} of {mapped:,} bytes are left. {AGAIN} "
                "Do not overwrite a cache that is in use."
            )


def require_cache(path: Path) -> None:
    """Raises InputError if there is no such file, and no such folder of files."""
    if isinstance(path, UrlPath):
        path.require()
    elif not is_cache(path):
        raise InputError(
            f"{path}: there is no such feature cache. Make it: {cache_command('extract-features --split train', path)}"
        )


@contextmanager
def _opened(path: Path) -> Iterator[tuple[h5py.File, ChecksumHeader]]:
    """Yields the HDF5 file, open for reading, and its checksum header. Raises InputError for anything but a feature
    cache, for damage outside of columns, and for a structure that deviates from the format."""
    header = read_checksum_header(path)
    for place in damaged(path, header, [name for name in header if name.endswith("/spec")]):
        raise InputError(f"{path}: {place} is damaged. {AGAIN}")
    try:
        with ExitStack() as stack:
            source = stack.enter_context(path.open("rb")) if isinstance(path, UrlPath) else path
            file = stack.enter_context(h5py.File(source, "r"))
            form, version = read_root(file)
            if form != FORMAT or version > VERSION:
                raise InputError(
                    f"{path}: format version {version}; this slt-cache reads up to {VERSION}. Update slt-cache."
                )
            yield file, header
    except BadStructure as error:
        raise InputError(f"{path}: {error}; {FOREIGN}") from error
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError) as error:  # HDF5 raises any of these
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"{path}: HDF5 cannot read it ({reason}); {FOREIGN}") from error
