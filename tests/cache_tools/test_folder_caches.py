"""Commands read a cache that is a folder of files like a single file, and write one if they are asked to."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slt_cache.config import load_config
from slt_cache.features.cache import FeatureCache, open_splits
from slt_cache.features.parts import add_splits, content_of
from slt_cache.features.spec import IMPORTED, FeatureSpec
from slt_cache.features.verify import cache_problems
from slt_cache.pipeline.train_from_cache import cache_settings
from slt_cache.pipeline.train_from_cache import open_splits as splits_for_training
from slt_cache.runs.run import Run
from tests.helpers.caches import DIM, IDS, facts_of, rows_of, spec_with_views
from tests.helpers.commands import slt_cache

GB = 0.000017
"""Size of a file with one or two of the small clips."""


def asked(*arguments: object) -> Any:
    ran = slt_cache(*arguments, "--json")
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


@pytest.fixture
def both(tmp_path: Path) -> tuple[Path, Path]:
    """The same two splits of three views in one file and in a folder of files."""
    contents = [
        content_of(facts_of(split, spec_with_views(3)), rows_of(seed=seed, views=3))
        for seed, split in enumerate(("train", "dev"))
    ]
    add_splits(tmp_path / "one.h5", contents)
    add_splits(tmp_path / "feats.h5", contents, max_bytes=round(GB * 1e9))
    assert (tmp_path / "feats.h5").is_dir()
    return tmp_path / "one.h5", tmp_path / "feats.h5"


def test_info_show_and_verify_say_of_a_folder_what_they_say_of_a_file(both: tuple[Path, Path]) -> None:
    one, folder = (asked("cache", "info", path) for path in both)
    assert folder["splits"] == one["splits"]
    assert folder["bytes"] == sum(path.stat().st_size for path in both[1].iterdir())
    shown = [asked("cache", "show", "片段", "--split", "dev", "--features", path) for path in both]
    assert shown[0]["views"] == shown[1]["views"] and shown[0]["text"] == shown[1]["text"]
    assert asked("cache", "verify", both[1]) == {"ok": True, "problems": []}
    (both[1] / "dev-00000.h5").unlink()
    ran = slt_cache("cache", "verify", both[1])
    assert ran.code == 1 and "dev-00000.h5" in ran.out


def test_a_folder_is_exported_as_a_file_is_and_comes_back(both: tuple[Path, Path], tmp_path: Path) -> None:
    for path, out in zip(both, ("a", "b"), strict=True):
        asked("cache", "export", path, tmp_path / out, "--all-views")
    files = [path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file()]
    assert len(files) > 24
    assert all((tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes() for path in files)
    asked("cache", "import", tmp_path / "b", "--out", tmp_path / "back.h5")
    asked("cache", "import", tmp_path / "b", "--out", tmp_path / "folder.h5", "--max-file-gb", GB)
    assert (tmp_path / "back.h5").read_bytes() == both[0].read_bytes()
    assert {path.name: path.read_bytes() for path in (tmp_path / "folder.h5").iterdir()} == {
        path.name: path.read_bytes() for path in both[1].iterdir()
    }


def test_folders_are_merged_into_a_file_or_a_folder(both: tuple[Path, Path], tmp_path: Path) -> None:
    other = tmp_path / "test.h5"
    add_splits(other, [content_of(facts_of("test", spec_with_views(3)), rows_of(seed=5, views=3))])
    for out, more in ((tmp_path / "m.h5", ()), (tmp_path / "f.h5", ("--max-file-gb", GB))):
        asked("cache", "merge", both[1], other, "--out", out, *more)
        assert out.is_dir() == bool(more) and not cache_problems(out)
        assert list(open_splits(out)) == ["train", "dev", "test"]
        assert np.array_equal(FeatureCache(out, "dev").view(IDS[1], 2), FeatureCache(both[0], "dev").view(IDS[1], 2))


def test_a_folder_without_an_index_is_refused_as_before(tmp_path: Path) -> None:
    (tmp_path / "feats.h5").mkdir()
    for words in (("info", tmp_path / "feats.h5"), ("merge", tmp_path / "feats.h5", tmp_path, "--out", tmp_path / "m")):
        ran = slt_cache("cache", *words)
        assert ran.code == 2 and "a folder, not a feature cache" in ran.err


def test_a_url_is_read_by_commands_too(both: tuple[Path, Path]) -> None:
    assert asked("cache", "info", f"file://{both[1]}")["splits"] == asked("cache", "info", both[0])["splits"]
    assert asked("cache", "verify", f"file://{both[0]}")["ok"]
    ran = slt_cache("cache", "merge", *both, "--out", "s3://bucket/feats.h5")
    assert ran.code == 2 and "s3://bucket/feats.h5: caches are read from there" in ran.err
    ran = slt_cache("cache", "info", "memory://bucket/none.h5")
    assert ran.code == 2 and "memory://bucket/none.h5: there is no such feature cache" in ran.err


def test_a_training_reads_the_same_clips_from_both(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", load_config("avatar", ["corpus.name=tsv", "features.level=imported"]))
    spec = FeatureSpec(encoder_sha256=None, level=IMPORTED, dim=DIM, dtype="float16", source="i3d")
    contents = [content_of(facts_of(split, spec), rows_of()) for split in ("train", "dev")]
    for name, max_bytes in (("one", None), ("folder", 16_500)):
        add_splits(tmp_path / name, contents, max_bytes=max_bytes)
    one, folder = (splits_for_training(run, tmp_path / name) for name in ("one", "folder"))
    assert (tmp_path / "folder").is_dir()
    assert cache_settings(run, folder.train) == cache_settings(run, one.train)
    assert folder.dev is not None and one.dev is not None and folder.dev.clips_sha256 == one.dev.clips_sha256
    for row in range(len(one.train.row_ids)):
        assert np.array_equal(folder.train.row(row), one.train.row(row))
