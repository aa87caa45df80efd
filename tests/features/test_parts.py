"""Parts: the small caches from which a cache is put together."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from slt_cache.features.cache import FeatureCache
from slt_cache.features.layout import Failure
from slt_cache.features.parts import Parts, add_splits
from slt_cache.features.verify import cache_problems
from tests.helpers.caches import (
    IDS,
    facts_of,
    rows_of,
    spec_of,
    spec_with_views,
)


def test_a_thousand_parts_need_no_thousand_open_files(tmp_path: Path) -> None:
    """How2Sign's train split has 487 of them, and many systems allow a process 1,024 files or 256."""
    resource = pytest.importorskip("resource")
    parts, rows = Parts(tmp_path / "feats.h5", facts_of()), rows_of()
    for number in range(30):
        parts.write(number, [replace(rows[0], clip_id=f"clip {number}")], [])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (psutil.Process().num_fds() + 20, hard))
    try:
        add_splits(tmp_path / "feats.h5", [parts.content(30)])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    cache = FeatureCache(tmp_path / "feats.h5", "train")
    assert cache.ids == [f"clip {number}" for number in range(30)]
    assert np.array_equal(cache["clip 29"], rows[0].features)
    assert not cache_problems(tmp_path / "feats.h5")


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
