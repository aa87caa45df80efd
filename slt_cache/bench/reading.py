"""Times reading of a feature cache: random clips against a bare memory map, and a data loader with worker processes."""

import random
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from torch.utils.data import DataLoader

from slt_cache.batches.features import CachedClips, FeatureCollator
from slt_cache.batches.sampler import EpochOrder
from slt_cache.features.cache import FeatureCache, open_splits
from slt_cache.features.layout import checksum
from slt_cache.hashes import read_sha256
from slt_cache.text.tokenizer import Tokenizer

ROUNDS = 7
READS = 2000
"""Random clips per round."""
WORKERS = 4


def bench_reading(cache: FeatureCache, tokenizer: Tokenizer, batch_size: int) -> dict[str, Any]:
    """Times both ways of reading the same random clips, in alternating rounds; the median round is reported."""
    draw = random.Random(0)
    rows = [draw.randrange(len(cache)) * cache.views for _ in range(READS)]
    ids = [cache.row_ids[row] for row in rows]
    mapped, offsets = cache.features.view(np.memmap), cache.offsets.tolist()

    def by_id() -> None:
        for clip_id in ids:
            np.array(cache[clip_id])

    def bare() -> None:
        for row in rows:
            np.array(mapped[offsets[row] : offsets[row + 1]])

    durations: dict[Callable[[], None], list[float]] = {by_id: [], bare: []}
    for _ in range(ROUNDS + 1):
        for work, seconds in durations.items():
            seconds.append(_seconds(work))
    cache_seconds, map_seconds = (median(seconds[1:]) for seconds in durations.values())  # the first round warms up
    return {
        "read_microseconds_a_clip": round(cache_seconds / READS * 1e6, 2),
        "read_speed_to_memmap": round(map_seconds / cache_seconds, 3),
        "loader_epoch_seconds": round(_loader_seconds(cache, tokenizer, batch_size), 2),
        "loader_workers": WORKERS,
        "file_bytes_to_features": round(cache.path.stat().st_size / max(_feature_bytes(cache), 1), 4),
    }


def bench_checks(cache: FeatureCache) -> dict[str, float]:
    """Returns the median seconds of opening the cache as a training does, and of comparing every row of the split with
    its checksum, which a process does once. The file is in the page cache."""

    def open_it() -> None:
        again = FeatureCache(cache.path, cache.split)
        assert again.ids and again.texts and len(again.offsets)

    def compare() -> None:
        for row in range(cache.rows):
            checksum(cache.row(row))

    durations = {
        name: [_seconds(work) for _ in range(ROUNDS)] for name, work in (("open", open_it), ("compare", compare))
    }
    return {f"{name}_seconds": median(seconds) for name, seconds in durations.items()}


def bench_hashes(folder: Path) -> float:
    """Returns the median seconds of hashing every file of a saved model, as loading it does once per process."""
    files = [path for path in folder.rglob("*") if path.is_file()]

    def hash_all() -> None:
        for path in files:
            read_sha256(path)

    return median(_seconds(hash_all) for _ in range(ROUNDS))


def _seconds(work: Callable[[], None]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


def _loader_seconds(cache: FeatureCache, tokenizer: Tokenizer, batch_size: int) -> float:
    """Returns the seconds of one epoch of training batches, made by worker processes that are already running."""
    order = EpochOrder(len(cache), batch_size, 0, shuffle=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch advises against more workers than cores
        loader: DataLoader[Any] = DataLoader(
            CachedClips(cache, seed=0),
            batch_sampler=order,
            collate_fn=FeatureCollator(tokenizer),
            num_workers=WORKERS,
            persistent_workers=True,
        )

        def epoch() -> None:
            for _ in loader:
                pass

        epoch()  # starts the workers, maps the file
        return _seconds(epoch)


def _feature_bytes(cache: FeatureCache) -> int:
    """Returns the size of the features of all splits of the file."""
    return sum(split.features.nbytes for split in open_splits(cache.path).values())
