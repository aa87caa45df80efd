"""A cache file opened once: its splits are views that share it."""

from pathlib import Path
from unittest import mock

import h5py
import numpy as np
import pytest

from slt_cache.errors import InputError, SltCacheError
from slt_cache.features.cache import FeatureCache, open_splits
from slt_cache.features.file import CacheFile
from tests.helpers.caches import IDS, add_split, facts_of, rows_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    for split in ("test", "train"):
        add_split(tmp_path / "feats.h5", rows_of(), facts_of(split))
    return tmp_path / "feats.h5"


def test_a_file_of_several_splits_is_opened_and_checked_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = mock.Mock(side_effect=h5py.File)
    monkeypatch.setattr("slt_cache.features.file.h5py.File", opened)
    splits = open_splits(path)
    assert list(splits) == ["train", "test"]
    assert all(held[IDS[0]].shape == (3, held.dim) for held in splits.values())
    opened.assert_called_once()


def test_a_view_equals_what_the_path_alone_gives(path: Path) -> None:
    view, alone = FeatureCache(CacheFile(path), "test"), FeatureCache(path, "test")
    assert view.ids == alone.ids and np.array_equal(view.features, alone.features)


def test_a_split_that_is_not_there_is_refused_with_those_that_are(path: Path) -> None:
    with pytest.raises(InputError, match=r"no split 'dev' but train, test"):
        CacheFile(path).header("dev")


def test_a_file_that_was_replaced_is_not_read_through_an_open_one(path: Path) -> None:
    held = FeatureCache(CacheFile(path), "train")
    add_split(path, rows_of(seed=1), facts_of("dev"))
    with pytest.raises(SltCacheError, match="replaced while it was read"):
        held.column("checksum")
