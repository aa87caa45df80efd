"""Opens a feature cache file and checks it once: its checksum header, the structure of every split, and columns as
memory maps. What the columns mean is defined by the views of its splits (cache.py)."""

import math
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np

from slt_cache.advice import cache_command
from slt_cache.errors import InputError, SltCacheError
from slt_cache.features.checksum_header import AGAIN, ChecksumHeader, damaged, read_checksum_header
from slt_cache.features.layout import FORMAT, VERSION, canonical
from slt_cache.features.structure import BadStructure, SplitHeader, read_root, read_split, split_names

FOREIGN = "no slt-cache wrote this file, and nothing is read from it. Extract the features again, or ask who made it."


class CacheFile:
    """An open feature cache. Holds no HDF5 handle, and stays readable even if another file takes its name."""

    def __init__(self, path: Path | str):
        """Opens the file. Raises InputError if it is missing or is no feature cache."""
        self.path = Path(path)
        with _opened(self.path) as (file, header):
            self._checksum_header = header
            names = sorted(split_names(file), key=canonical)
            self._headers = {split: read_split(file, split, header) for split in names}

    @property
    def splits(self) -> list[str]:
        """Names of the splits, train first."""
        return list(self._headers)

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
        """Returns a dataset as a read-only memory map. Raises InputError if it does not match its checksum, and
        SltCacheError if the file has been replaced since it was opened."""
        place = self._headers[split].places[name]
        if 0 in place.shape:
            return np.empty(place.shape, place.dtype)
        # a split added in the meantime would shift what is read here
        if read_checksum_header(self.path) != self._checksum_header:
            raise SltCacheError(f"{self.path}: {split} was replaced while it was read. Run the command again.")
        for column in damaged(self.path, self._checksum_header, [f"{split}/{name}"]):
            raise InputError(f"{self.path}: {column} is damaged. {AGAIN}")
        self.require_length()
        return np.frombuffer(self._mapped, place.dtype, math.prod(place.shape), place.offset).reshape(place.shape)

    @cached_property
    def _mapped(self) -> mmap.mmap:
        with self.path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def require_length(self) -> None:
        """Raises SltCacheError if the file has become shorter: touching a page past its end would end the process with
        SIGBUS."""
        size, mapped = self._mapped.size(), len(self._mapped)
        if size < mapped:
            raise SltCacheError(
                f"{self.path}: was truncated while it was read: {size:,} of {mapped:,} bytes are left. {AGAIN} "
                "Do not overwrite a cache that is in use."
            )


def require_cache(path: Path) -> None:
    """Raises InputError if there is no such file."""
    if not path.is_file():
        raise InputError(
            f"{path}: there is no such feature cache. Make it: {cache_command('extract-features --split train', path)}"
        )


@contextmanager
def _opened(path: Path) -> Iterator[tuple[h5py.File, ChecksumHeader]]:
    """Yields the HDF5 file, open for reading, and its checksum header. Raises InputError for anything but a feature
    cache, for damage outside of columns, and for a structure that deviates from the format."""
    require_cache(path)
    header = read_checksum_header(path)
    for place in damaged(path, header, [name for name in header if name.endswith("/spec")]):
        raise InputError(f"{path}: {place} is damaged. {AGAIN}")
    try:
        with h5py.File(path, "r") as file:
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
