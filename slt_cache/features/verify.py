"""Verifies that a feature cache is as it was written: every byte, the offsets, the order. Changes nothing."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import numpy as np

from slt_cache.errors import InputError
from slt_cache.features.cache import FeatureCache, open_splits
from slt_cache.features.checksum_header import damaged, read_checksum_header
from slt_cache.features.file import CacheFile, require_cache
from slt_cache.features.folder import read_index
from slt_cache.features.layout import ProgressCallback, checksum
from slt_cache.features.place import located


def cache_problems(path: Path, progress: ProgressCallback | None = None) -> list[str]:
    """Returns one line for every damage of a cache file; missing clips are no damage. Raises InputError if the file
    does not exist."""
    return open_verified(path, progress)[1]


def open_verified(path: Path, progress: ProgressCallback | None = None) -> tuple[CacheFile | None, list[str]]:
    """Opens a cache and returns it with its damage, one line each; None if it is too damaged to be opened. Raises
    InputError if it does not exist."""
    path = located(path)
    require_cache(path)
    places: list[str] = []
    problems: list[str] = []
    try:
        of_index = [] if path.is_file() else read_index(path).files
        for name in [one.name for one in of_index] or [""]:
            header = read_checksum_header(path / name)
            found = list(damaged(path / name, header, header))
            places += found
            problems += [f"{name and f'{name}: '}{place}: does not match its checksum" for place in found]
        if any(place.endswith("/spec") for place in places):
            return None, problems
        file = CacheFile(path)
    except InputError as error:
        return None, [*problems, str(error)]
    caches = open_splits(file, verify=False).values()
    rows, done = sum(cache.rows for cache in caches), count(1)

    def row_done() -> None:
        if progress is not None:
            progress(next(done), rows)

    for cache in caches:
        try:
            problems += split_problems(cache, {place.rpartition("/")[2] for place in places}, row_done)
        except InputError as error:  # a column with impossible values
            problems.append(str(error))
    return file, problems


def split_problems(
    cache: FeatureCache, damaged: frozenset[str] | set[str] = frozenset(), row_done: Callable[[], None] = lambda: None
) -> Iterator[str]:
    """Yields one line for every damage of a split, naming the clip. Raises InputError at a damaged column that is not
    among those known to be `damaged`."""
    if not damaged:
        yield from (f"{cache.split}/{problem}" for problem in _contradictions(cache))
    if not damaged & {"offsets", "checksum", "clip_id"}:
        yield from (f"{cache.split}/features: {problem}" for problem in _damaged_features(cache, row_done))


def _contradictions(cache: FeatureCache) -> Iterator[str]:
    """Yields one line for every contradiction between the columns."""
    if (np.diff(cache.offsets) < 1).any() or cache.offsets[0] != 0 or cache.offsets[-1] != len(cache.features):
        yield "offsets: do not rise from 0 to the last row of features"
    if cache.rows % cache.views or (cache.column("view") != np.tile(np.arange(cache.views), len(cache))).any():
        yield f"view: not 0 to {cache.views - 1} for each clip"
    if cache.row_ids != [clip_id for clip_id in cache.ids for _ in range(cache.views)]:
        yield "clip_id: the views of a clip are not consecutive"
    missing = [failure.clip_id for failure in cache.missing]
    if len({*cache.ids, *missing}) != len(cache.ids) + len(missing):
        yield "clip_id: an id occurs twice"
    if cache.complete != (not missing):
        yield "complete: contradicts the list of missing clips"


def _damaged_features(cache: FeatureCache, row_done: Callable[[], None]) -> Iterator[str]:
    sums = cache.column("checksum")
    for row, clip_id in enumerate(cache.row_ids):
        if checksum(cache.row(row)) != sums[row]:
            view = "" if cache.views == 1 else f", view {row % cache.views}"
            yield f"clip {clip_id!r}{view} does not match its checksum"
        row_done()
