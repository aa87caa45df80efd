"""The feature cache: written in parts, put together, read by memory map, refused where it is another."""

import hashlib
import io
import json
import mmap
import os
import pickle
import subprocess
import sys
import textwrap
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psutil
import pytest
import torch
from torch.utils.data import DataLoader

from slt_cache.batches.features import CachedClips, FeatureBatch, feature_loader
from slt_cache.errors import InputError, SltCacheError
from slt_cache.features import writing
from slt_cache.features.cache import FeatureCache, FeaturesDiffer, open_splits
from slt_cache.features.layout import Failure, SplitContent, SplitTable, checksum
from slt_cache.features.parts import Parts, add_splits, content_of, parts_folder
from slt_cache.features.spec import FeatureSpec
from slt_cache.features.verify import cache_problems
from slt_cache.features.writing import write_cache
from tests.helpers.caches import (
    DIM,
    IDS,
    LENGTHS,
    TEXTS,
    add_split,
    facts_of,
    rows_of,
    spec_of,
    spec_with_views,
)
from tests.helpers.small_disks import small_disk


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    return add_split(tmp_path / "feats.h5", rows_of())


def test_a_thousand_parts_need_no_thousand_open_files(tmp_path: Path) -> None:
    """How2Sign's train split has 487 of them, and many systems allow a process 1,024 files or 256."""
    resource = pytest.importorskip("resource")
    parts, rows = Parts(tmp_path / "feats.h5", facts_of()), rows_of()
    for number in range(60):
        parts.write(number, [replace(rows[0], clip_id=f"clip {number}")], [])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (psutil.Process().num_fds() + 40, hard))
    try:
        add_splits(tmp_path / "feats.h5", [parts.content(60)])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    cache = FeatureCache(tmp_path / "feats.h5", "train")
    assert cache.ids == [f"clip {number}" for number in range(60)]
    assert np.array_equal(cache["clip 59"], rows[0].features)
    assert not cache_problems(tmp_path / "feats.h5")


@pytest.fixture
def seen_thrice(tmp_path: Path) -> FeatureCache:
    """Three views of each clip."""
    return add_split(tmp_path / "views.h5", rows_of(views=3), facts_of(spec=spec_with_views(3)))


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


def test_writing_leaves_nothing_but_the_cache(cache: FeatureCache) -> None:
    parts_folder(cache.path).rmdir()  # empty: the split's own folder is gone
    assert [path.name for path in cache.path.parent.iterdir()] == ["feats.h5"]


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
    held: Any = cache.features.base
    assert isinstance(memoryview(held.base).obj, mmap.mmap) and not cache.features.flags.writeable


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


# --- views


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


def views_seen(data: CachedClips, cache: FeatureCache, epochs: int) -> list[list[int]]:
    """The view that each epoch shows of each clip, told by its features."""
    seen = []
    for epoch in range(1, epochs + 1):
        of_epoch = []
        for index, clip_id in enumerate(IDS):
            read_id, features, text = data[epoch, index]
            assert (read_id, text) == (clip_id, TEXTS[index])
            [view] = [v for v in range(cache.views) if np.array_equal(cache.view(clip_id, v), features)]
            of_epoch.append(view)
        seen.append(of_epoch)
    return seen


def test_training_draws_every_view_and_follows_from_seed_epoch_and_index(seen_thrice: FeatureCache) -> None:
    seen = views_seen(CachedClips(seen_thrice, seed=3), seen_thrice, 30)
    for of_clip in zip(*seen, strict=True):
        assert set(of_clip) == {0, 1, 2}
    assert len({tuple(of_epoch) for of_epoch in seen}) > 10  # clips of an epoch are not drawn alike
    again = CachedClips(seen_thrice, seed=3)
    again[17, 2], again[1, 1]  # whatever is asked for in between
    assert views_seen(again, seen_thrice, 30) == seen
    assert views_seen(CachedClips(seen_thrice, seed=4), seen_thrice, 30) != seen


def test_without_a_seed_view_0_is_read(seen_thrice: FeatureCache) -> None:
    assert views_seen(CachedClips(seen_thrice), seen_thrice, 5) == [[0, 0, 0, 0]] * 5


@pytest.mark.parametrize("shuffle", [False, True])
def test_only_shuffled_batches_see_augmented_views(seen_thrice: FeatureCache, tokenizer: Any, shuffle: bool) -> None:
    loader = feature_loader(seen_thrice, tokenizer, batch_size=2, seed=1, shuffle=shuffle)
    seen = set()
    for epoch in range(1, 9):
        loader.batch_sampler.epoch = epoch  # type: ignore[union-attr]
        for batch in loader:
            for clip_id, length in zip(batch.ids, batch.lengths.tolist(), strict=True):
                seen.add(length - LENGTHS[IDS.index(clip_id)])
    assert seen == ({0, 1, 2} if shuffle else {0})


# --- batches and worker processes


def test_batches_of_features_are_padded_with_zeros(cache: FeatureCache, tokenizer: Any) -> None:
    batches: list[FeatureBatch] = list(feature_loader(cache, tokenizer, batch_size=3, shuffle=False))
    assert [batch.ids for batch in batches] == [IDS[:3], IDS[3:]]
    assert batches[0].lengths.tolist() == list(LENGTHS[:3])
    for batch in batches:
        assert batch.features.shape == (len(batch.ids), max(batch.lengths), DIM)
        assert batch.size == sum(LENGTHS[IDS.index(clip_id)] for clip_id in batch.ids)
        for clip_id, steps, length in zip(batch.ids, batch.features.numpy(), batch.lengths, strict=True):
            assert np.array_equal(steps[:length], cache[clip_id].astype(np.float32))
            assert not steps[length:].any()
    assert {batch.features.dtype for batch in batches} == {torch.float32}
    assert batches[1].targets.decoder_input_ids.tolist() == [[*tokenizer.start, *tokenizer.encode("ein satz")]]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_cache_may_be_read_by_worker_processes(cache: FeatureCache, method: str) -> None:
    assert (len(cache.features), len(cache.texts)) == (sum(LENGTHS), 4)  # mapped before the workers are started
    loader: DataLoader[Any] = DataLoader(
        CachedClips(cache),
        sampler=[(1, index) for index in (2, 0, 3, 1)],
        batch_size=None,
        num_workers=2 if method == "fork" else 1,
        multiprocessing_context=method,
    )
    read = list(loader)
    assert [(clip_id, text) for clip_id, _, text in read] == [(IDS[index], TEXTS[index]) for index in (2, 0, 3, 1)]
    for clip_id, features, _ in read:
        assert np.array_equal(features.numpy(), cache[clip_id].astype(np.float32))


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


# --- writing


def test_adding_a_split_keeps_the_bytes_of_the_other(cache: FeatureCache) -> None:
    features, texts = cache.features.tobytes(), cache.texts
    add_split(cache.path, rows_of(seed=1), facts_of("dev"))
    assert list(open_splits(cache.path)) == ["train", "dev"]
    train, dev = FeatureCache(cache.path, "train"), FeatureCache(cache.path, "dev")
    assert train.features.tobytes() == features
    assert (train.texts, train.attributes) == (texts, cache.attributes)
    assert np.array_equal(dev["片段"], rows_of(seed=1)[2].features)
    assert cache_problems(cache.path) == []


def test_writing_a_split_again_replaces_it(cache: FeatureCache) -> None:
    rows = rows_of(seed=1)[:2]
    again = add_split(cache.path, rows)
    assert again.ids == list(IDS[:2])
    assert np.array_equal(again[IDS[0]], rows[0].features)


def test_the_same_content_makes_the_same_bytes_however_it_was_put_together(tmp_path: Path) -> None:
    missing = (Failure("ünlesbar", "there is no such file"),)
    first, second, third, fourth = (tmp_path / name / "feats.h5" for name in "abcd")
    add_split(first, rows_of())
    add_split(first, rows_of(seed=1), facts_of("dev"), missing)
    add_split(second, rows_of(seed=1), facts_of("dev"), missing)
    add_split(second, rows_of())
    add_splits(third, [content_of(facts_of("dev"), rows_of(seed=1), missing), content_of(facts_of(), rows_of())])
    train, dev = Parts(fourth, facts_of()), Parts(fourth, facts_of("dev"))
    for number, row in reversed(list(enumerate(rows_of()))):
        train.write(number, [row], [])
    dev.write(0, rows_of(seed=1)[:1], [])
    dev.write(1, [], missing)
    dev.write(2, rows_of(seed=1)[1:], [])
    add_splits(fourth, [train.content(4)])
    add_splits(fourth, [dev.content(3)])
    assert first.read_bytes() == second.read_bytes() == third.read_bytes() == fourth.read_bytes()


def test_splits_of_very_different_specs_share_a_file(tmp_path: Path) -> None:
    """HDF5 puts a short attribute behind an earlier one where it still fits."""
    path = tmp_path / "feats.h5"
    for lengths in [(1316, 2997, 1161), (10, 10, 10), (3000, 10, 3000)]:
        specs = [spec_of(source="x" * length) for length in lengths]
        write_cache(path, [content_of(facts_of(f"s{n}", spec), rows_of(seed=n)) for n, spec in enumerate(specs)])
        assert cache_problems(path) == []
        assert [FeatureCache(path, f"s{n}").spec for n in range(3)] == specs


def test_missing_clips_are_recorded_with_the_reason(tmp_path: Path) -> None:
    missing = (Failure("ünlesbar", "there is no such file"), Failure("坏", "broken"))
    cache = add_split(tmp_path / "feats.h5", rows_of(), missing=missing)
    assert not cache.complete
    assert cache.missing == missing
    assert list(cache) == list(IDS)
    assert cache_problems(cache.path) == []


def test_a_split_of_which_no_clip_could_be_read_is_empty_and_not_complete(tmp_path: Path) -> None:
    missing = (Failure("a", "broken"),)
    cache = add_split(tmp_path / "feats.h5", [], missing=missing)
    assert (len(cache), cache.complete, cache.missing, cache.features.shape) == (0, False, missing, (0, DIM))
    assert (cache.ids, cache.texts, cache.num_frames.tolist()) == ([], [], [])
    assert cache_problems(cache.path) == []


@pytest.mark.parametrize("wrong", ["bytes", "steps", "type"])
def test_features_that_are_not_as_their_table_says_are_never_written(cache: FeatureCache, wrong: str) -> None:
    before = cache.path.read_bytes()
    good = content_of(facts_of("dev"), rows_of())
    features = [row.features for row in rows_of()]
    features[2] = {
        "bytes": features[2] + np.float16(0.5),
        "steps": features[2][:-1],
        "type": features[2].astype(np.float32),
    }[wrong]
    with pytest.raises(SltCacheError, match=r"memory: .*'片段'"):
        add_splits(cache.path, [SplitContent(good.table, lambda: iter(features), good.source)])
    assert cache.path.read_bytes() == before
    assert not list(cache.path.parent.glob("*.tmp"))


def test_a_cache_below_a_file_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be written"):
        add_split(tmp_path / "file" / "feats.h5", rows_of())
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_the_users_mistake(tmp_path: Path) -> None:
    content = content_of(facts_of(), rows_of())
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(InputError, match="Permission denied"):
        write_cache(tmp_path / "closed" / "feats.h5", [content])


FULL_DISK = """
    import resource, sys
    from pathlib import Path

    import numpy as np

    from slt_cache.errors import SltCacheError
    from slt_cache.features.parts import ClipFeatures, add_splits
    from slt_cache.features.parts import content_of
    from tests.helpers.caches import DIM, facts_of

    path, limit = Path(sys.argv[1]), int(sys.argv[2])
    rows = [ClipFeatures(f"clip {n:08d}", "ein satz", 400, 25.0, np.ones((100, DIM), "float16")) for n in range(2000)]
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        add_splits(path, [content_of(facts_of("dev"), rows)])
    except SltCacheError as error:
        print(type(error).__name__, error)
"""
FULL_DISK_BYTES = 2000 * 100 * DIM * 2


@pytest.mark.parametrize(
    "limit",
    [0, 1000, 100_000, FULL_DISK_BYTES, FULL_DISK_BYTES + 20_000, FULL_DISK_BYTES + 60_000],
)
def test_a_full_disk_is_an_error_in_one_line_and_keeps_the_earlier_file(cache: FeatureCache, limit: int) -> None:
    before = cache.path.read_bytes()
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FULL_DISK), str(cache.path), str(limit)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("SltCacheError")
    assert ran.stdout.count("\n") == 1
    assert "feats.h5: could not be written" in ran.stdout
    assert cache.path.read_bytes() == before
    assert not list(cache.path.parent.glob("*.tmp"))


IN_MEMORY = """
    import os, sys
    from pathlib import Path

    from slt_cache.errors import SltCacheError
    from slt_cache.features.parts import add_splits, content_of
    from tests.helpers.caches import facts_of, rows_of
    from tests.helpers.small_disks import PAGE, fill

    path = Path(sys.argv[1])
    for pages in range(7):
        for file in path.parent.iterdir():
            file.unlink()
        fill(path.parent, pages * PAGE)
        child = os.fork()
        if child == 0:
            try:
                add_splits(path, [content_of(facts_of("dev"), rows_of())])
            except SltCacheError as error:
                assert "could not be written (No space left on device" in str(error)
                os._exit(1)
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        assert path.exists() or os.listdir(path.parent) == ["filler"]
"""


def test_a_full_file_system_in_memory_is_an_error_at_whatever_page_it_is_full(tmp_path: Path) -> None:
    """Not the end of the process by SIGBUS, which is what a map of a file with holes comes to there."""
    with small_disk(tmp_path / "disk", 1 << 19) as disk:
        ran = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(IN_MEMORY), str(disk / "feats.h5")],
            capture_output=True,
            text=True,
            cwd=Path(__file__).parents[2],
        )
    assert (ran.returncode, ran.stderr) == (0, "")
    codes = list(map(int, ran.stdout.split()))
    assert codes == sorted(codes, reverse=True)
    assert set(codes) == {0, 1}


# --- parts

ALL = [*IDS, "missing"]


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    parts = Parts(tmp_path / "feats.h5", facts_of())
    parts.write(3, rows_of(), [Failure("missing", "broken")])
    return parts


def test_a_part_is_held_with_just_its_clips(parts: Parts) -> None:
    held = parts.find(3, ALL)
    assert held is not None
    assert held.missing == (Failure("missing", "broken"),)
    assert np.array_equal(held["片段"], rows_of()[2].features)
    assert parts.find(3, IDS) is None
    assert parts.find(3, [*ALL, "another"]) is None
    assert parts.find(2, ALL) is None


@pytest.mark.parametrize(
    "metadata",
    [
        facts_of(spec=spec_of(keep_rate=0.5)),
        facts_of(spec=spec_of("float32")),
        facts_of(spec=spec_with_views(2)),
        facts_of(manifest="n" * 64),
        facts_of("dev"),
    ],
)
def test_a_part_of_another_spec_manifest_or_split_is_not_held(parts: Parts, tmp_path: Path, metadata: Any) -> None:
    other = Parts(tmp_path / "feats.h5", metadata)
    other.path(3).parent.mkdir(exist_ok=True)
    if not other.path(3).exists():
        other.path(3).write_bytes(parts.path(3).read_bytes())
    assert other.find(3, ALL) is None


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_part_that_was_cut_off_is_not_held(parts: Parts, share: float) -> None:
    data = parts.path(3).read_bytes()
    parts.path(3).write_bytes(data[: int(len(data) * share)])
    assert parts.find(3, ALL) is None


def test_a_part_with_any_damaged_byte_is_not_held(parts: Parts) -> None:
    path = parts.path(3)
    data = path.read_bytes()
    for offset in range(0, len(data), 37):
        path.write_bytes(data[:offset] + bytes([data[offset] ^ 0x10]) + data[offset + 1 :])
        assert parts.find(3, ALL) is None, f"byte {offset}"
    path.write_bytes(data)
    assert parts.find(3, ALL) is not None


def test_parts_of_two_splits_do_not_meet(tmp_path: Path) -> None:
    train, dev = (Parts(tmp_path / "feats.h5", facts_of(split)) for split in ("train", "dev"))
    train.write(0, rows_of(), [])
    dev.write(0, rows_of(seed=1), [])
    train.remove()
    assert train.find(0, IDS) is None
    assert dev.find(0, IDS) is not None
    dev.remove()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


# --- spec

OTHERS: dict[str, Any] = {
    "encoder_sha256": "b" * 64,
    "level": "frame",
    "dim": 7,
    "dtype": "float32",
    "precision": "bf16",
    "keep_rate": 0.5,
    "resize": 255,
    "crop": 223,
    "fit": "crop",
    "blank": True,
    "mean": (0.5, 0.5, 0.5),
    "std": (0.2, 0.2, 0.2),
    "decoder": "other",
    "views": 2,
    "view_seed": 0,
    "augmentation": {"phase": False},
    "source": "another lab",
    "fps": 12.5,
    "backbone": "resnet34",
}


@pytest.mark.parametrize("spec", [spec_of(), spec_of("float32", keep_rate=0.125), spec_with_views(3)])
def test_a_spec_comes_back_from_json(spec: FeatureSpec) -> None:
    assert FeatureSpec.from_json(spec.to_json()) == spec
    assert FeatureSpec.from_json(spec.to_json()).sha256 == spec.sha256


def test_a_spec_from_before_backbones_were_named_is_one_of_resnet18() -> None:
    old = {name: value for name, value in json.loads(spec_of().to_json()).items() if name != "backbone"}
    text = json.dumps(old, sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest().startswith("5cc6a8e52448dd58")
    assert FeatureSpec.from_json(text) == spec_of(backbone="resnet18")
    assert FeatureSpec.from_json(text).differences(spec_of(backbone="resnet34")) == [
        "backbone: file resnet18, this run resnet34"
    ]


def test_imported_features_have_no_backbone() -> None:
    spec = FeatureSpec(None, "imported", 8, "float32", source="i3d")
    assert spec.backbone is None
    assert "backbone" not in json.loads(spec.to_json())
    assert FeatureSpec.from_json(spec.to_json()) == spec


def test_the_hash_of_a_spec_is_stable_and_tells_every_field() -> None:
    # Another value would mean that the text of a spec has changed.
    assert spec_of().sha256 == "b0e252446cb6685f7de4484af331a0cb52e46471cd11ec568e62425a9adef98e"
    assert set(OTHERS) == {field.name for field in fields(FeatureSpec)}
    hashes = {spec_of(**{name: value}).sha256 for name, value in OTHERS.items()} | {spec_of().sha256}
    assert len(hashes) == len(OTHERS) + 1


@pytest.mark.parametrize("name", [field.name for field in fields(FeatureSpec)])
def test_features_of_another_spec_are_refused_with_the_field_and_both_values(cache: FeatureCache, name: str) -> None:
    cache.require_spec(spec_of())
    file, run = getattr(spec_of(), name), OTHERS[name]
    if name == "encoder_sha256":
        file, run = "aaaaaaaaaaaa...", "bbbbbbbbbbbb..."
    for asked in (spec_of(**{name: OTHERS[name]}), {name: OTHERS[name]}):
        with pytest.raises(FeaturesDiffer) as refused:
            cache.require_spec(asked)
        assert refused.value.fields == f"{name}: file {file}, this run {run}"
        assert f"{cache.path} (train) holds other features" in str(refused.value)
        assert f"({name}: file {file}, this run {run})" in str(refused.value)
        new = cache.path.with_name("NEW.h5")
        assert f"(slt-cache extract-features --features {new})" in str(refused.value)


def test_of_a_mapping_only_its_fields_are_compared(cache: FeatureCache) -> None:
    cache.require_spec({})
    cache.require_spec({"level": "sign", "mean": (0.485, 0.456, 0.406), "view_seed": None})
    with pytest.raises(FeaturesDiffer) as refused:
        cache.require_spec({"level": "sign", "crop": 112, "resize": 128})
    assert refused.value.fields == "resize: file 256, this run 128; crop: file 224, this run 112"


# --- files that are no cache


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


# --- size and speed


def shortest(ask: Callable[[], Any], times: int = 3) -> float:
    """Seconds of processor time of the best of several calls: machines are noisy."""
    seconds = []
    for _ in range(times):
        begun = time.process_time()
        ask()
        seconds.append(time.process_time() - begun)
    return min(seconds)


def many_clips(count: int, features: np.ndarray) -> SplitContent:
    """Clips of one step each; a thousand different ones, again and again."""
    kinds, _, dim = features.shape
    table = SplitTable(
        metadata=facts_of(spec=spec_of(dim=dim)),
        clip_ids=[f"clip-{n:08d}" for n in range(count)],
        texts=[f"satz {n % kinds}" for n in range(count)],
        num_frames=np.full(count, 4, np.int32),
        fps=np.full(count, 25, np.float32),
        steps=np.ones(count, np.int64),
        checksums=np.tile([checksum(one) for one in features], count // kinds).astype(np.uint32),
        missing=(),
    )
    return SplitContent(table, lambda: (features[n % kinds] for n in range(count)), "memory")


def peak_of_writing(path: Path, content: SplitContent) -> int:
    """Bytes that are held at once, beside the content."""
    tracemalloc.start()
    try:
        write_cache(path, [content])
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_writing_many_clips_holds_little_for_each(tmp_path: Path) -> None:
    features = np.random.default_rng(0).normal(size=(1000, 1, 64)).astype("float16")
    peak = peak_of_writing(tmp_path / "feats.h5", many_clips(50_000, features))
    assert peak < 50_000 * 200  # bytes; the features of each clip alone are 128, its encoded id is 46


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


def test_a_cache_as_large_as_phoenix_is_hardly_larger_than_its_features(tmp_path: Path) -> None:
    """7,096 clips as long as those of PHOENIX14T's train split; memory does not grow with the features."""
    random, count, dim = np.random.default_rng(0), 7096, 512
    frames = np.clip(random.lognormal(np.log(116) - 0.1, 0.45, size=count), 16, 475).astype(np.int32)
    letters = np.array(list("abcdefghijklmnoprstuvwzäöüß    "))
    lengths = random.integers(10, 265, size=count)
    steps = -(-frames.astype(np.int64) // 4)
    zeros = np.zeros((int(steps.max()), dim), np.float16)
    sums = {n: checksum(zeros[:n]) for n in set(steps.tolist())}
    table = SplitTable(
        metadata=facts_of(spec=spec_of(dim=dim)),
        clip_ids=[f"01April_2010_Thursday_heute_default-{n:09d}".ljust(45, "x") for n in range(count)],
        texts=["".join(random.choice(letters, length)) for length in lengths],
        num_frames=frames,
        fps=np.full(count, 25, np.float32),
        steps=steps,
        checksums=np.array([sums[n] for n in steps.tolist()], np.uint32),
        missing=(),
    )
    assert 105 < frames.mean() < 130
    assert 280 < max(len(text.encode()) for text in table.texts) < 330
    peak = peak_of_writing(
        tmp_path / "feats.h5", SplitContent(table, lambda: (zeros[:n] for n in steps.tolist()), "memory")
    )
    size = int(steps.sum()) * dim * 2
    assert size > 200_000_000
    assert (tmp_path / "feats.h5").stat().st_size / size <= 1.02
    assert peak < 20_000_000
    assert FeatureCache(tmp_path / "feats.h5", "train").num_frames.tolist() == frames.tolist()


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
