"""Reading of a cache: what was written comes back, by memory map; another file is refused."""

import io
import mmap
import pickle
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from slt_cache.batches.features import CachedClips
from slt_cache.errors import InputError, SltCacheError
from slt_cache.features import writing
from slt_cache.features.cache import FeatureCache, open_splits
from slt_cache.features.layout import Failure, checksum
from slt_cache.features.parts import content_of
from slt_cache.features.verify import cache_problems
from slt_cache.features.writing import write_cache
from tests.helpers.caches import (
    DIM,
    IDS,
    LENGTHS,
    TEXTS,
    add_split,
    facts_of,
    many_clips,
    rows_of,
    spec_of,
)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_features_come_back_as_they_were_written(tmp_path: Path, dtype: str) -> None:
    rows = rows_of(dtype)
    cache = add_split(tmp_path / "feats.h5", rows, facts_of(spec=spec_of(dtype)))
    assert cache.ids == cache.row_ids == list(IDS)
    assert cache.texts == cache.row_texts == list(TEXTS)
    assert cache.num_frames.tolist() == [row.num_frames for row in rows]
    assert cache.column("fps").tolist() == [25.0] * 4
    assert cache.column("checksum").tolist() == [checksum(row.features) for row in rows]
    for row in rows:
        assert cache[row.clip_id].dtype == np.dtype(dtype)
        assert np.array_equal(cache[row.clip_id], row.features)
    assert cache.complete
    assert cache.missing == ()
    assert (cache.dim, cache.views, cache.rows) == (DIM, 1, 4)
    assert cache.spec == spec_of(dtype)
    assert cache.metadata == facts_of(spec=spec_of(dtype))
    assert cache.attributes["spec_sha256"] == spec_of(dtype).sha256
    assert cache_problems(cache.path) == []


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_features_are_contiguous_and_the_memory_map_equals_h5py(tmp_path: Path, dtype: str) -> None:
    cache = add_split(tmp_path / "feats.h5", rows_of(dtype), facts_of(spec=spec_of(dtype)))
    with h5py.File(cache.path, "r") as file:
        dataset = file["train/features"]
        assert (dataset.chunks, dataset.compression, dataset.shape) == (None, None, (sum(LENGTHS), DIM))
        assert dataset.id.get_offset() is not None
        assert np.array_equal(dataset[:], cache.features)
        for row, clip_id in enumerate(IDS):
            first, last = file["train/offsets"][row : row + 2]
            assert np.array_equal(dataset[first:last], cache[clip_id])
    features = np.asarray(cache.features)  # not copied
    held: Any = features.base
    assert isinstance(memoryview(held.base).obj, mmap.mmap) and not features.flags.writeable


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_the_file_has_the_documented_layout(tmp_path: Path, dtype: str) -> None:
    metadata = facts_of(spec=spec_of(dtype))
    cache = add_split(tmp_path / "feats.h5", rows_of(dtype), metadata, (Failure("ünlesbar", "there is no such file"),))
    add_split(cache.path, rows_of(), facts_of("dev"))
    types = {
        "features": {"float16": "<f2", "float32": "<f4"}[dtype],
        "offsets": "<i8",
        "view": "<i2",
        "num_frames": "<i4",
        "fps": "<f4",
        "checksum": "<u4",
    }
    lengths = {"clip_id": 9, "text": 27, "missing": 9, "missing_reason": 21}  # bytes of the longest
    with h5py.File(cache.path, "r") as file:
        assert dict(file.attrs) == {"format": "slt-cache features", "version": 1}
        assert (file.userblock_size, set(file)) == (4096, {"train", "dev"})
        group = file["train"]
        assert set(group) == {*types, *lengths}
        assert {name: group[name].dtype.str for name in types} == types
        for name, length in lengths.items():
            assert h5py.check_string_dtype(group[name].dtype) == ("utf-8", length)
        assert group["offsets"][:].tolist() == [0, 3, 4, 9, 11]
        assert group["view"][:].tolist() == [0, 0, 0, 0]
        assert set(group.attrs) == {
            *("complete", "spec", "spec_sha256", "corpus", "language", "manifest_sha256", "created", "tool")
        }
        assert np.issubdtype(type(group.attrs["complete"]), np.integer)
        assert (group.attrs["complete"], file["dev"].attrs["complete"]) == (0, 1)
        for dataset in (*group.values(), *file["dev"].values()):
            assert dataset.chunks is None
            if dataset.size:
                assert dataset.id.get_offset() % 64 == 0


def test_a_cache_is_a_mapping(cache: FeatureCache) -> None:
    assert len(cache) == 4
    assert list(cache) == list(IDS)
    assert "clip ä" in cache
    assert "none" not in cache
    with pytest.raises(KeyError, match="none"):
        cache["none"]
    assert [len(features) for features in cache.values()] == list(LENGTHS)


def test_what_is_read_cannot_be_written_to(cache: FeatureCache) -> None:
    with pytest.raises(ValueError, match="read-only"):
        cache["片段"][0, 0] = 1.0


def test_h5py_alone_reads_the_cache(cache: FeatureCache) -> None:
    """What a user without this package does, from a copy in memory."""
    with h5py.File(io.BytesIO(cache.path.read_bytes()), "r") as file:
        ids = [clip_id.decode() for clip_id in file["train/clip_id"][:]]
        texts = file["train/text"].asstr()[:].tolist()
        first, last = file["train/offsets"][2:4]
        assert np.array_equal(file["train/features"][first:last], cache[ids[2]])
    assert (ids, texts) == (list(IDS), list(TEXTS))


def test_every_view_of_a_clip_comes_back_as_it_was_written(seen_thrice: FeatureCache) -> None:
    rows = rows_of(views=3)
    for row, written in enumerate(rows):
        assert np.array_equal(seen_thrice.view(written.clip_id, row % 3), written.features)
    assert [len(seen_thrice.view("片段", view)) for view in range(3)] == [5, 6, 7]
    assert seen_thrice.column("view").tolist() == [0, 1, 2] * 4
    assert cache_problems(seen_thrice.path) == []


def test_a_cache_with_views_is_a_mapping_of_clips_to_view_0(seen_thrice: FeatureCache) -> None:
    assert (len(seen_thrice), seen_thrice.rows, seen_thrice.views) == (4, 12, 3)
    assert list(seen_thrice) == list(IDS)
    assert (seen_thrice.texts, seen_thrice.row_texts[::3]) == (list(TEXTS), list(TEXTS))
    assert seen_thrice.num_frames.tolist() == [4 * length - 1 for length in LENGTHS]
    for clip_id, features in seen_thrice.items():
        assert np.array_equal(features, seen_thrice.view(clip_id, 0))


@pytest.mark.parametrize("view", [3, 100, -1])
def test_a_view_that_is_not_there_is_an_index_error(seen_thrice: FeatureCache, view: int) -> None:
    with pytest.raises(IndexError, match=rf"view {view}: .*views.h5 has views 0 to 2"):
        seen_thrice.view("片段", view)
    with pytest.raises(KeyError):
        seen_thrice.view("none", 0)


def test_a_pickled_cache_is_small_and_reads_the_same(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = [
        type(row)(f"{row.clip_id} {n}", row.text, 8000, 25.0, random.normal(size=(2000, DIM)).astype("float16"))
        for n in range(10)
        for row in rows_of()
    ]
    cache = add_split(tmp_path / "feats.h5", rows)
    before = cache[rows[5].clip_id].copy()
    assert cache.texts[5] == rows[5].text
    data = pickle.dumps(cache)
    assert len(data) < 10_000
    copy = pickle.loads(data)
    assert np.array_equal(copy[rows[5].clip_id], before)
    assert (copy.spec, copy.ids, copy.texts) == (cache.spec, cache.ids, cache.texts)


@pytest.mark.parametrize("replaced_by", ["another manifest", "another spec", "without the split"])
def test_a_cache_that_was_replaced_is_not_opened_again(cache: FeatureCache, replaced_by: str) -> None:
    data = pickle.dumps(cache)
    cache.path.unlink()
    if replaced_by == "another manifest":
        add_split(cache.path, rows_of(), facts_of(manifest="n" * 64))
    elif replaced_by == "another spec":
        add_split(cache.path, rows_of(), facts_of(spec=spec_of(resize=128)))
    else:
        add_split(cache.path, rows_of(), facts_of("dev"))
    with pytest.raises(SltCacheError, match=r"feats\.h5.*train"):
        pickle.loads(data)


@pytest.mark.parametrize("read_before", [[], ["offsets", "ids"]], ids=["nothing read before", "columns read before"])
def test_features_are_not_looked_for_at_their_old_place_in_a_new_file(
    cache: FeatureCache, read_before: list[str]
) -> None:
    for name in read_before:
        getattr(cache, name)
    again = FeatureCache(cache.path, "train")
    assert len(again.features) == sum(LENGTHS)
    add_split(cache.path, rows_of(seed=1), facts_of("dev"))
    with pytest.raises(SltCacheError, match=r"feats\.h5: train was replaced while it was read"):
        cache["片段"]
    assert np.array_equal(again.features[4:9], rows_of()[2].features)  # what is mapped stays


def refusal(path: Path, split: str = "train") -> str:
    with pytest.raises(InputError) as refused:
        FeatureCache(path, split)
    assert str(path) in str(refused.value)
    return str(refused.value)


def test_a_missing_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    assert "extract-features" in refusal(tmp_path / "none.h5")
    for ask in (open_splits, cache_problems):
        with pytest.raises(InputError, match="there is no such feature cache"):
            ask(tmp_path / "none.h5")


@pytest.mark.parametrize("content", [b"", b"no hdf5" * 100, b"slt-cache seal 1 99999999 00000000\n" * 200])
def test_a_file_that_is_no_cache_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "feats.h5").write_bytes(content)
    assert "first" in refusal(tmp_path / "feats.h5")
    with pytest.raises(InputError):
        open_splits(tmp_path / "feats.h5")
    [problem] = cache_problems(tmp_path / "feats.h5")
    assert str(tmp_path / "feats.h5") in problem


def test_another_hdf5_file_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "feats.h5", "w") as file:
        file["train"] = np.zeros(3)
    assert "no slt-cache feature cache" in refusal(tmp_path / "feats.h5")


def test_a_newer_format_is_refused_with_both_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "VERSION", 2)
    write_cache(tmp_path / "feats.h5", [content_of(facts_of(), rows_of())])
    message = refusal(tmp_path / "feats.h5")
    assert "version 2" in message
    assert "up to 1" in message
    with pytest.raises(InputError, match="version 2"):
        open_splits(tmp_path / "feats.h5")


def test_a_split_that_is_not_held_is_refused_with_those_that_are(cache: FeatureCache) -> None:
    message = refusal(cache.path, "dev")
    assert "'dev'" in message
    assert "train" in message
    assert "extract-features --split dev" in message


def shortest(ask: Callable[[], Any], times: int = 3) -> float:
    """Seconds of processor time of the best of several calls: machines are noisy."""
    seconds = []
    for _ in range(times):
        begun = time.process_time()
        ask()
        seconds.append(time.process_time() - begun)
    return min(seconds)


@pytest.mark.slow
def test_a_million_clips_are_opened_in_a_second_and_read_in_a_millisecond(tmp_path: Path) -> None:
    features = np.random.default_rng(0).normal(size=(1000, 1, 4)).astype("float16")
    count = 1_000_000
    write_cache(tmp_path / "feats.h5", [many_clips(count, features)])

    def open_and_find() -> None:
        cache = FeatureCache(tmp_path / "feats.h5", "train")
        assert np.array_equal(cache["clip-00777777"], features[777])

    assert shortest(open_and_find) < 1.0
    cache = FeatureCache(tmp_path / "feats.h5", "train")
    data = CachedClips(cache)
    data[1, 0]
    seconds = []
    for n in np.random.default_rng(1).integers(count, size=1000).tolist():
        begun = time.perf_counter()
        clip_id, read, _ = data[1, n]
        seconds.append(time.perf_counter() - begun)
        assert (clip_id, read[0].tolist()) == (f"clip-{n:08d}", features[n % 1000, 0].tolist())
    assert np.median(seconds) < 1e-3


def test_a_cache_that_is_cut_off_while_it_is_read_is_an_error_and_not_the_end_of_the_process(tmp_path: Path) -> None:
    """As by `cp` of a smaller file onto it; the map of a file that is too short would be SIGBUS."""
    path = tmp_path / "feats.h5"
    add_split(path, rows_of())
    reading = """
        import os, sys
        from slt_cache.errors import SltCacheError
        from slt_cache.features.cache import FeatureCache

        cache = FeatureCache(sys.argv[1], "train")
        assert len(cache[cache.ids[0]])
        os.truncate(sys.argv[1], 4096)
        try:
            cache[cache.ids[1]]
        except SltCacheError as error:
            print(error)
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(reading), str(path)], capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    assert f"{path}: was truncated while it was read: 4,096 of " in ran.stdout
