"""Times a stage-2 epoch from the cache against one that runs the frozen encoder again, and reading of the cache: random
clips against a bare memory map, a data loader with worker processes, and what opening and checking take."""

import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import DataLoader

from slt_cache.batches.features import CachedClips, FeatureCollator
from slt_cache.batches.sampler import EpochOrder
from slt_cache.bench.llm import bench_llm
from slt_cache.bench.measure import median_seconds
from slt_cache.checkpoints.translator import load_llm
from slt_cache.errors import InputError
from slt_cache.features.cache import FeatureCache, open_splits
from slt_cache.features.layout import checksum
from slt_cache.features.spec import FeatureSpec
from slt_cache.hashes import read_sha256
from slt_cache.pipeline.feature_spec import open_features
from slt_cache.runs.run import Run
from slt_cache.text.tokenizer import Tokenizer

BATCHES = 6
"""Number of batches that are also computed from the videos."""
ROUNDS = 7
READS = 2000
"""Random clips per round."""
WORKERS = 4


def bench_cache(run: Run, path: Path) -> dict[str, Any]:
    """Times stage-2 updates from the cache against updates that read the videos and run the frozen encoder again, as
    `bench_llm` does, and the cache alone. Seconds are for one epoch, from the median round. Raises InputError for a
    model of several streams."""
    llm = load_llm(run.llm / "best")
    if not isinstance(llm.specs, FeatureSpec):
        raise InputError(
            f"{run.llm}: reads the caches of {len(llm.specs)} streams ({', '.join(llm.specs)}), and this measures one. "
            f"Its steps are timed by: {run.command('bench llm')}"
        )
    measured = bench_llm(run, path, batches=BATCHES, briefly=True)
    cache = open_features(run, path, "train", llm.spec)
    batch_size = run.config.llm_training.batch_size
    clips = min(measured["batches_timed"] * batch_size, len(cache))
    share = clips / len(cache)
    seconds = measured["seconds_from_cache"] / share
    values = {"epoch_seconds_from_cache": round(seconds, 2)}
    if "seconds_recomputed" in measured:  # the encoder is known, as that of imported features is not
        values["epoch_seconds_recomputed"] = round(measured["seconds_recomputed"] / share, 2)
        values["ratio"] = measured["ratio"]
    open_seconds, compare_seconds = _check_seconds(cache)
    return {
        **values,
        "clips_timed": clips,
        "rounds": measured["rounds"],
        "device": measured["device"],
        **_read_speed(cache),
        "loader_epoch_seconds": round(_loader_seconds(cache, llm.tokenizer, batch_size), 2),
        "loader_workers": WORKERS,
        "file_bytes_to_features": round(cache.file.size / max(_feature_bytes(cache), 1), 4),
        "open_seconds": round(open_seconds, 4),
        "file_hashes_percent_of_epoch": round(100 * _hash_seconds(run.llm / "best") / seconds, 3),
        "row_checksums_percent_of_epoch": round(100 * compare_seconds / seconds, 3),
    }


def _read_speed(cache: FeatureCache) -> dict[str, float]:
    """Times both ways of reading the same random clips."""
    draw = random.Random(0)
    rows = [draw.randrange(len(cache)) * cache.views for _ in range(READS)]
    ids = [cache.row_ids[row] for row in rows]
    features, offsets = cache.features, cache.offsets.tolist()
    mapped = features.view(np.memmap) if isinstance(features, np.ndarray) else features

    def by_id() -> None:
        for clip_id in ids:
            np.array(cache[clip_id])

    def bare() -> None:
        for row in rows:
            np.array(mapped[offsets[row] : offsets[row + 1]])

    cache_seconds, map_seconds = median_seconds([by_id, bare], ROUNDS)
    return {
        "read_microseconds_a_clip": round(cache_seconds / READS * 1e6, 2),
        "read_speed_to_memmap": round(map_seconds / cache_seconds, 3),
    }


def _check_seconds(cache: FeatureCache) -> list[float]:
    """Returns the seconds of opening the cache as a training does, and of comparing every row of the split with its
    checksum, which a process does once. The file is in the page cache."""

    def open_it() -> None:
        again = FeatureCache(cache.path, cache.split)
        assert again.ids and again.texts and len(again.offsets)

    def compare() -> None:
        for row in range(cache.rows):
            checksum(cache.row(row))

    return median_seconds([open_it, compare], ROUNDS)


def _hash_seconds(folder: Path) -> float:
    """Returns the seconds of hashing every file of a saved model, as loading it does once per process."""
    files = [path for path in folder.rglob("*") if path.is_file()]

    def hash_all() -> None:
        for path in files:
            read_sha256(path)

    [seconds] = median_seconds([hash_all], ROUNDS)
    return seconds


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

        [seconds] = median_seconds([epoch], 1)  # the round before starts the workers and maps the file
        return seconds


def _feature_bytes(cache: FeatureCache) -> int:
    """Returns the size of the features of all splits of the file."""
    return sum(split.features.nbytes for split in open_splits(cache.path).values())
