"""Caches in object storage: ranges of a remote file are read, and its faults are said in a line."""

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import fsspec
import numpy as np
import pytest

from slt_cache.errors import InputError, SltCacheError
from slt_cache.features.cache import FeatureCache, open_splits
from slt_cache.features.parts import add_splits, content_of
from slt_cache.features.place import UrlPath, located
from slt_cache.features.verify import cache_problems
from tests.helpers.caches import IDS, add_split, facts_of, rows_of, spec_with_views

URL = "memory://bucket/feats.h5"


@pytest.fixture
def memory() -> Iterator[Any]:
    """Storage that is emptied afterwards."""
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


@pytest.fixture(params=["file", "folder"])
def local(request: pytest.FixtureRequest, tmp_path: Path, memory: Any) -> Path:
    """A cache here, and its copy in storage."""
    path = tmp_path / "feats.h5"
    contents = [content_of(facts_of(split, spec_with_views(2)), rows_of(views=2)) for split in ("train", "dev")]
    add_splits(path, contents, max_bytes=None if request.param == "file" else 17_000)
    memory.put(str(path), "/bucket/feats.h5", recursive=path.is_dir())
    return path


def test_a_remote_cache_gives_what_a_local_one_gives(local: Path) -> None:
    assert list(open_splits(URL)) == ["train", "dev"]  # type: ignore[arg-type]
    here, there = FeatureCache(local, "train"), FeatureCache(URL, "train")
    assert str(there.path) == URL and f"{URL!r}" in repr(there)
    assert there.ids == here.ids and there.texts == here.texts and there.clips_sha256 == here.clips_sha256
    assert all(np.array_equal(there.row(row), here.row(row)) for row in range(here.rows))
    assert np.array_equal(there.view(IDS[1], 1), here.view(IDS[1], 1))
    again = pickle.loads(pickle.dumps(there))
    assert np.array_equal(again[IDS[0]], here[IDS[0]])
    assert not cache_problems(located(URL))


def test_only_the_rows_that_are_asked_for_are_read(tmp_path: Path, memory: Any) -> None:
    memory.put(str(add_split(tmp_path / "feats.h5", rows_of()).path), "/bucket/feats.h5")
    cache = FeatureCache(URL, "train", verify=False)
    assert cache.offsets.tolist() == [0, 3, 4, 9, 11]
    with mock.patch.object(UrlPath, "read_range", autospec=True, side_effect=UrlPath.read_range) as read:
        cache.row(2)
    [call] = read.call_args_list
    first, end = call.args[1:]
    assert end - first == cache.row(2).nbytes


def test_rows_are_compared_with_their_checksums_each_time(tmp_path: Path, memory: Any) -> None:
    memory.put(str(add_split(tmp_path / "feats.h5", rows_of()).path), "/bucket/feats.h5")
    cache = FeatureCache(URL, "train")
    assert np.array_equal(cache[IDS[0]], rows_of()[0].features)
    changed = mock.patch.object(UrlPath, "read_range", return_value=bytes(cache[IDS[0]].nbytes))
    with changed, pytest.raises(SltCacheError, match="damaged"):
        cache[IDS[0]]


def test_a_file_that_was_replaced_is_not_read_on(tmp_path: Path, memory: Any) -> None:
    memory.put(str(add_split(tmp_path / "feats.h5", rows_of()).path), "/bucket/feats.h5")
    cache = FeatureCache(URL, "train")
    memory.put(str(add_split(tmp_path / "feats.h5", rows_of(), facts_of("dev")).path), "/bucket/feats.h5")
    with pytest.raises(SltCacheError, match="replaced while it was read"):
        cache.column("checksum")


@pytest.mark.parametrize(
    ("url", "telling"),
    [
        (URL, r"memory://bucket/feats\.h5: there is no such feature cache"),
        ("nothing-known://bucket/feats.h5", "nothing-known"),
    ],
)
def test_what_cannot_be_read_is_said(memory: Any, url: str, telling: str) -> None:
    with pytest.raises(InputError, match=telling):
        FeatureCache(url, "train")


def test_a_package_that_is_not_installed_is_named(memory: Any) -> None:
    lacking = mock.patch("fsspec.core.url_to_fs", side_effect=ImportError("Install s3fs to access S3"))
    with lacking, pytest.raises(InputError, match=r"Install s3fs.*slt-cache\[remote\]"):
        FeatureCache("s3://bucket/feats.h5", "train")


def test_a_url_keeps_its_slashes_as_a_path() -> None:
    path = located(Path("s3://bucket/folder/feats.h5"))
    assert str(path) == "s3://bucket/folder/feats.h5" and str(path.parent / "b.h5") == "s3://bucket/folder/b.h5"
    assert path.name == "feats.h5" and str(path.with_name("c.h5")) == "s3://bucket/folder/c.h5"
    assert str(located("file:///tmp/feats.h5")) == "file:///tmp/feats.h5"
    assert not isinstance(located("runs/a/feats.h5"), UrlPath) and not isinstance(located("C:/feats.h5"), UrlPath)


def test_a_local_url_is_read(tmp_path: Path) -> None:
    path = add_split(tmp_path / "feats.h5", rows_of()).path
    assert FeatureCache(f"file://{path}", "train").ids == list(IDS)
