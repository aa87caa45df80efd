"""A cache that is a folder of files is read, verified and extended like a single file."""

import json
import pickle
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from slt_cache.errors import InputError, SltCacheError
from slt_cache.features.arrays import StepArray
from slt_cache.features.cache import FeatureCache, open_splits
from slt_cache.features.file import CacheFile
from slt_cache.features.folder import read_index
from slt_cache.features.layout import Failure, SplitContent
from slt_cache.features.parts import ClipFeatures, add_splits, content_of
from slt_cache.features.several_files import OVERHEAD
from slt_cache.features.verify import cache_problems
from slt_cache.hashes import write_signed
from tests.helpers.caches import DIM, IDS, LENGTHS, facts_of, rows_of, spec_with_views

SMALL = OVERHEAD + 200
"""Bytes of a file with one or two of the small clips."""
MISSING = (Failure("lost", "no such video"),)
COLUMNS = ("offsets", "view", "num_frames", "fps", "checksum", "clip_id", "text", "missing", "missing_reason")


def content(split: str = "train", views: int = 1) -> SplitContent:
    metadata = facts_of(split, spec_with_views(views)) if views > 1 else facts_of(split)
    return content_of(metadata, rows_of(views=views), MISSING)


@pytest.fixture(params=[1, 3])
def both(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    """The same splits in one file and in a folder of them."""
    contents = [content("dev", request.param), content("train", request.param)]
    add_splits(tmp_path / "one.h5", contents)
    add_splits(tmp_path / "feats.h5", contents, max_bytes=SMALL)
    return tmp_path / "one.h5", tmp_path / "feats.h5"


def test_a_folder_gives_what_a_single_file_gives(both: tuple[Path, Path]) -> None:
    one, folder = (open_splits(path) for path in both)
    assert both[1].is_dir() and list(one) == list(folder) == ["train", "dev"]
    for split, cache in one.items():
        other = folder[split]
        assert other.ids == cache.ids and other.texts == cache.texts and other.missing == cache.missing == MISSING
        assert other.attributes == cache.attributes and other.spec == cache.spec and not other.complete
        assert other.clips_sha256 == cache.clips_sha256 and other.sources == cache.sources
        for name in COLUMNS:
            assert np.array_equal(other.column(name), cache.column(name)), name
        assert all(np.array_equal(other.row(row), cache.row(row)) for row in range(cache.rows))
        assert all(np.array_equal(other[clip_id], cache[clip_id]) for clip_id in cache)
        assert (len(other.features), other.dim, other.features.nbytes) == (
            len(cache.features),
            DIM,
            cache.features.nbytes,
        )
        assert np.array_equal(np.asarray(other.features), cache.features)
        assert np.array_equal(other.features[2:6], cache.features[2:6])  # of several files
    assert not cache_problems(both[1])


def test_each_file_is_a_cache_of_its_own_and_no_larger_than_asked(both: tuple[Path, Path]) -> None:
    index = read_index(both[1])
    assert len(index.files) > 3 and {path.name for path in both[1].iterdir()} == {
        "index.json",
        *(file.name for file in index.files),
    }
    ids: list[str] = []
    for file in index.files:
        path = both[1] / file.name
        cache = FeatureCache(path, file.split)
        ids += cache.ids if file.split == "train" else []
        assert cache.rows == file.rows and not cache_problems(path)
        assert path.stat().st_size <= SMALL or len(cache) == 1
        with h5py.File(path) as plain:
            assert list(plain) == [file.split]
    assert ids == list(IDS)


def test_a_file_that_is_small_enough_stays_a_file_with_the_same_bytes(tmp_path: Path) -> None:
    add_splits(tmp_path / "a.h5", [content()])
    add_splits(tmp_path / "b.h5", [content()], max_bytes=10**9)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_splits_are_added_to_a_folder_which_remains_one(tmp_path: Path) -> None:
    path = tmp_path / "feats.h5"
    add_splits(path, [content()], max_bytes=SMALL)
    add_splits(path, [content("dev")])
    together = tmp_path / "together.h5"
    add_splits(together, [content(), content("dev")], max_bytes=SMALL)
    assert {one.name: one.read_bytes() for one in path.iterdir()} == {
        one.name: one.read_bytes() for one in together.iterdir()
    }


def test_a_file_that_grows_too_large_is_replaced_by_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "feats.h5"
    add_splits(path, [content()], max_bytes=10**9)
    assert path.is_file()
    add_splits(path, [content("dev")], max_bytes=SMALL)
    assert path.is_dir() and list(open_splits(path)) == ["train", "dev"] and not cache_problems(path)
    assert [one.name for one in tmp_path.iterdir()] == ["feats.h5"]


def test_no_limit_makes_more_files_than_a_process_may_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slt_cache.features.several_files.MAX_FILES", 10)
    rows = [ClipFeatures(f"clip {number}", "", 1, 25.0, rows_of()[number % 4].features) for number in range(50)]
    add_splits(tmp_path / "feats.h5", [content_of(facts_of(), rows)], max_bytes=1)
    assert 4 < len(read_index(tmp_path / "feats.h5").files) <= 10
    assert FeatureCache(tmp_path / "feats.h5", "train").ids == [one.clip_id for one in rows]


def test_a_write_that_fails_in_a_later_file_leaves_the_old_cache(tmp_path: Path) -> None:
    path = tmp_path / "feats.h5"
    add_splits(path, [content()], max_bytes=SMALL)
    before = {one.name: one.read_bytes() for one in path.iterdir()}
    damaged = content("dev")
    damaged.table.checksums[-1] ^= 1
    with pytest.raises(SltCacheError, match=f"{IDS[-1]!r} are damaged"):
        add_splits(path, [damaged])
    assert {one.name: one.read_bytes() for one in path.iterdir()} == before
    assert [one.name for one in tmp_path.iterdir()] == ["feats.h5"]


def test_a_split_without_a_clip_has_a_file(tmp_path: Path) -> None:
    add_splits(tmp_path / "feats.h5", [content(), content_of(facts_of("dev"), [], MISSING)], max_bytes=SMALL)
    dev = FeatureCache(tmp_path / "feats.h5", "dev")
    assert (len(dev), dev.missing, dev.features.shape) == (0, MISSING, (0, DIM))


def test_a_column_that_only_some_files_have_is_empty_in_the_others(tmp_path: Path) -> None:
    rows = [*rows_of()]
    rows[-1] = ClipFeatures(**{**vars(rows[-1]), "source": "1-2-3 - -"})
    add_splits(tmp_path / "feats.h5", [content_of(facts_of(), rows)], max_bytes=SMALL)
    assert FeatureCache(tmp_path / "feats.h5", "train").sources == ["", "", "", "1-2-3 - -"]


def test_a_folder_is_read_in_a_worker_process(both: tuple[Path, Path]) -> None:
    cache = FeatureCache(both[1], "train")
    again = pickle.loads(pickle.dumps(cache))
    assert np.array_equal(again[IDS[2]], cache[IDS[2]]) and isinstance(cache.features, StepArray)


def test_damage_is_found_and_named(both: tuple[Path, Path]) -> None:
    folder = both[1]
    file = next(one for one in read_index(folder).files if one.name == "train-00001.h5")
    path = folder / file.name
    clip_id = FeatureCache(path, "train").ids[0]
    with h5py.File(path) as plain:
        places = [plain["train"][name].id.get_offset() for name in ("features", "text")]
    whole = path.read_bytes()
    for place, telling in zip(places, (f"train/features: clip {clip_id!r}", "train-00001.h5: train/text"), strict=True):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert any(telling in problem for problem in cache_problems(folder)), telling
    path.write_bytes(whole)
    assert not cache_problems(folder)
    with pytest.raises(SltCacheError, match="damaged"):
        path.write_bytes(whole[: places[0]] + bytes(len(whole) - places[0]))
        FeatureCache(folder, "train")[clip_id]


def test_files_that_are_gone_exchanged_or_of_another_cache_are_refused(tmp_path: Path) -> None:
    folder, other = tmp_path / "feats.h5", tmp_path / "other.h5"
    add_splits(folder, [content()], max_bytes=SMALL)
    add_splits(other, [content_of(facts_of(), rows_of(seed=1))], max_bytes=SMALL)
    first, second = (folder / one.name for one in read_index(folder).files[:2])
    for change in (
        lambda: second.unlink(),
        lambda: shutil.copy(first, second),
        lambda: shutil.copy(other / second.name, second),
    ):
        whole = second.read_bytes()
        change()
        with pytest.raises(InputError, match=second.name):
            CacheFile(folder)
        assert any(second.name in problem for problem in cache_problems(folder))
        second.write_bytes(whole)
    assert not cache_problems(folder)


@pytest.mark.parametrize(
    ("changes", "telling"),
    [
        ({"files": [{"name": "../other.h5", "split": "train", "rows": 4, "sha256": ""}]}, "not the name of a file"),
        ({"version": 2}, "Update slt-cache"),
        ({"files": [{}]}, "no slt-cache wrote"),
    ],
)
def test_an_index_that_no_slt_cache_wrote_is_refused(tmp_path: Path, changes: dict[str, object], telling: str) -> None:
    add_splits(tmp_path / "feats.h5", [content()], max_bytes=SMALL)
    index = json.loads((tmp_path / "feats.h5" / "index.json").read_text())
    del index["sha256"]
    write_signed(tmp_path / "feats.h5" / "index.json", {**index, **changes})
    with pytest.raises(InputError, match=telling):
        CacheFile(tmp_path / "feats.h5")
    (tmp_path / "feats.h5" / "index.json").write_text("{")
    assert ["index.json" in problem for problem in cache_problems(tmp_path / "feats.h5")] == [True]


def test_a_folder_without_an_index_is_no_cache(tmp_path: Path) -> None:
    (tmp_path / "feats.h5").mkdir()
    with pytest.raises(InputError, match="no such feature cache"):
        FeatureCache(tmp_path / "feats.h5", "train")


def test_lengths_are_those_of_all_files(both: tuple[Path, Path]) -> None:
    cache = FeatureCache(both[1], "train")
    assert cache.steps.tolist() == list(LENGTHS)
