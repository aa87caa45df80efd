"""How fast a feature cache is read: random clips against a bare memory map, and a data loader with worker processes."""

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
"""Random clips in a round."""
WORKERS = 4


def bench_reading(held: FeatureCache, tokenizer: Tokenizer, batch_size: int) -> dict[str, Any]:
    """Seconds are of the median round; the two ways to read are taken in turns, over the same random clips."""
    draw = random.Random(0)
    rows = [draw.randrange(len(held)) * held.views for _ in range(READS)]
    ids = [held.row_ids[row] for row in rows]
    mapped, offsets = held.features.view(np.memmap), held.offsets.tolist()

    def by_id() -> None:
        for clip_id in ids:
            np.array(held[clip_id])

    def bare() -> None:
        for row in rows:
            np.array(mapped[offsets[row] : offsets[row + 1]])

    taken: dict[Callable[[], None], list[float]] = {by_id: [], bare: []}
    for _ in range(ROUNDS + 1):
        for work, seconds in taken.items():
            seconds.append(_seconds(work))
    cache_seconds, map_seconds = (median(seconds[1:]) for seconds in taken.values())  # the first round warms up
    return {
        "read_microseconds_a_clip": round(cache_seconds / READS * 1e6, 2),
        "read_speed_to_memmap": round(map_seconds / cache_seconds, 3),
        "loader_epoch_seconds": round(_loader_seconds(held, tokenizer, batch_size), 2),
        "loader_workers": WORKERS,
        "file_bytes_to_features": round(held.path.stat().st_size / max(_feature_bytes(held), 1), 4),
    }


def bench_checks(held: FeatureCache) -> dict[str, float]:
    """Seconds of opening the cache as a training does, and of comparing every row of the split with its checksum, which
    a process does once. Medians; the file is in the system's memory."""

    def open_it() -> None:
        again = FeatureCache(held.path, held.split)
        assert again.ids and again.texts and len(again.offsets)

    def compare() -> None:
        for row in range(held.rows):
            checksum(held.row(row))

    taken = {name: [_seconds(work) for _ in range(ROUNDS)] for name, work in (("open", open_it), ("compare", compare))}
    return {f"{name}_seconds": median(seconds) for name, seconds in taken.items()}


def bench_hashes(folder: Path) -> float:
    """Seconds of hashing every file of a saved model, as loading it does once in a process; the median."""
    files = [path for path in folder.rglob("*") if path.is_file()]

    def hash_all() -> None:
        for path in files:
            read_sha256(path)

    return median(_seconds(hash_all) for _ in range(ROUNDS))


def _seconds(work: Callable[[], None]) -> float:
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


def _loader_seconds(held: FeatureCache, tokenizer: Tokenizer, batch_size: int) -> float:
    """One epoch of training batches, made by worker processes that are running already."""
    order = EpochOrder(len(held), batch_size, 0, shuffle=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch advises against more workers than cores
        loader: DataLoader[Any] = DataLoader(
            CachedClips(held, seed=0),
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


def _feature_bytes(held: FeatureCache) -> int:
    """Of all splits of the file."""
    return sum(split.features.nbytes for split in open_splits(held.path).values())
