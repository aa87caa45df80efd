"""Features that are no single memory map: of several files, read as one array, or of a remote file, read by ranges."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from slt_cache.features.place import UrlPath
from slt_cache.features.structure import Place


class StepArray:
    """Array [sum N, C] that is read where it is sliced, and as a whole by `numpy.asarray`."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]):
        self.shape = shape
        self.dtype = dtype

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def __getitem__(self, steps: slice) -> np.ndarray:
        """Returns consecutive steps, [N, C], read-only."""
        first, end, step = steps.indices(len(self))
        if step != 1:
            raise IndexError("only consecutive steps are read")
        return self.between(first, max(first, end))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self[:], dtype)

    def between(self, first: int, end: int) -> np.ndarray:
        raise NotImplementedError


class RangeArray(StepArray):
    """Array in a remote file. Raises SltCacheError if it cannot be read."""

    def __init__(self, path: UrlPath, place: Place):
        super().__init__(place.shape, place.dtype)
        self.path = path
        self.offset = place.offset

    def between(self, first: int, end: int) -> np.ndarray:
        size = self.dtype.itemsize * self.shape[1]
        data = self.path.read_range(self.offset + first * size, self.offset + end * size) if end > first else b""
        return np.frombuffer(data, self.dtype).reshape(end - first, self.shape[1])


class JoinedArray(StepArray):
    """Arrays of the same width, one after another. A slice of one of them is not copied."""

    def __init__(self, lengths: Sequence[int], width: int, dtype: np.dtype[Any], read: Callable[[int], Any]):
        """`read` returns the array with a number; it is called when that array is read."""
        self._ends = [0, *accumulate(lengths)]
        super().__init__((self._ends[-1], width), dtype)
        self._read = read

    def between(self, first: int, end: int) -> np.ndarray:
        number = bisect_right(self._ends, first) - 1
        found: list[np.ndarray] = []
        while first < end:
            begin, until = self._ends[number], min(end, self._ends[number + 1])
            if until > first:
                found.append(self._read(number)[first - begin : until - begin])
            first, number = max(first, until), number + 1
        return found[0] if len(found) == 1 else np.concatenate([np.empty((0, self.shape[1]), self.dtype), *found])
