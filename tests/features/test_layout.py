"""What the columns and names of a cache mean, wherever they are used."""

import zlib

import numpy as np

from slt_cache.features.layout import SplitTable, canonical, checksum
from tests.helpers.caches import facts_of, spec_with_views


def test_splits_have_one_order_whatever_the_order_of_adding() -> None:
    assert sorted(["test", "zoo", "dev", "extra", "train"], key=canonical) == ["train", "dev", "test", "extra", "zoo"]


def test_the_checksum_of_a_row_is_that_of_its_bytes_also_for_a_view_into_a_larger_array() -> None:
    features = np.arange(24, dtype=np.float16).reshape(4, 6)
    assert checksum(features[:, ::2]) == zlib.crc32(np.array(features[:, ::2]).tobytes())
    assert checksum(features[:2]) != checksum(features[2:])


def test_the_views_of_a_clip_follow_each_other_from_0() -> None:
    rows = np.ones(6, np.int64)
    metadata = facts_of(spec=spec_with_views(3))
    table = SplitTable(metadata, ["a"] * 3 + ["b"] * 3, ["x"] * 6, rows, rows, rows, rows, missing=())
    assert table.views.tolist() == [0, 1, 2, 0, 1, 2]
    assert table.views.dtype == np.int16
