"""Caches of the same clips as one split: joined by id, view by view."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from slt_cache.errors import InputError
from slt_cache.features.cache import FeatureCache
from slt_cache.features.layout import Failure
from slt_cache.features.streams import ClipSubset, StreamSplit, listed_ids
from tests.helpers.caches import IDS, TEXTS, add_split, facts_of, rows_of, spec_of, spec_with_views


def cache_of(path: Path, seed: int, views: int = 1, drop: tuple[str, ...] = (), dtype: str = "float16") -> FeatureCache:
    spec = spec_with_views(views) if views > 1 else spec_of(dtype)
    rows = [row for row in rows_of(dtype, seed, views) if row.clip_id not in drop]
    missing = tuple(Failure(clip_id, "an empty file") for clip_id in drop)
    return add_split(path, rows, facts_of(spec=spec), missing)


def test_clips_of_all_streams_come_in_the_order_of_the_first(tmp_path: Path) -> None:
    one = cache_of(tmp_path / "one.h5", 1, views=2, drop=(IDS[1],))
    two = cache_of(tmp_path / "two.h5", 2, views=2, drop=(IDS[3],))
    joined = StreamSplit({"one": one, "two": two})
    assert list(joined) == joined.ids == [IDS[0], IDS[2]] and len(joined) == 2
    assert joined.texts == [TEXTS[0], TEXTS[2]] and joined.dim == (6, 6)
    assert joined.missing_in == {"one": [IDS[1]], "two": [IDS[3]]}
    for row, (clip_id, view) in enumerate([(IDS[0], 0), (IDS[0], 1), (IDS[2], 0), (IDS[2], 1)]):
        for found, cache in zip(joined.row(row), (one, two), strict=True):
            assert np.array_equal(found, cache.view(clip_id, view))
        assert joined.row_ids[row] == clip_id
        assert joined.lengths[row].tolist() == [len(found) for found in joined.row(row)]
    assert joined.steps.tolist() == [6, 10]
    assert [stream.shape for stream in joined[IDS[2]]] == [(5, 6), (5, 6)]


def test_the_hash_of_the_clips_follows_each_stream_and_their_order(tmp_path: Path) -> None:
    one, two, other = (cache_of(tmp_path / f"{seed}.h5", seed) for seed in (1, 2, 3))
    known = StreamSplit({"one": one, "two": two}).clips_sha256
    assert known != StreamSplit({"one": one, "two": other}).clips_sha256
    assert known != StreamSplit({"two": two, "one": one}).clips_sha256


def test_streams_of_different_views_or_of_no_common_clip_are_refused(tmp_path: Path) -> None:
    one, two = cache_of(tmp_path / "one.h5", 1), cache_of(tmp_path / "two.h5", 2, views=2)
    with pytest.raises(InputError, match=r"hold other views \(views: two 2, one 1"):
        StreamSplit({"one": one, "two": two})
    few, rest = cache_of(tmp_path / "few.h5", 1, drop=IDS[:2]), cache_of(tmp_path / "rest.h5", 1, drop=IDS[2:])
    with pytest.raises(InputError, match="no clip is in all streams"):
        StreamSplit({"few": few, "rest": rest})


def test_a_clip_of_other_times_is_refused_and_a_changed_or_unknown_video_is_not(tmp_path: Path) -> None:
    def with_source(name: str, source: str) -> FeatureCache:
        rows = rows_of()
        return add_split(tmp_path / name, [replace(rows[0], source=source), *rows[1:]])

    one = with_source("one.h5", "5-0-0 0.0 2.0")
    StreamSplit({"one": one, "two": with_source("two.h5", "7-1-1 0.0 2.0"), "three": with_source("three.h5", "")})
    with pytest.raises(InputError, match=rf"four\.h5 \(train\): clip {IDS[0]!r} has other times than in"):
        StreamSplit({"one": one, "four": with_source("four.h5", "5-0-0 0.0 3.0")})


@pytest.mark.parametrize("streams", [1, 2])
def test_some_clips_of_a_split_are_read_like_the_whole(tmp_path: Path, streams: int) -> None:
    caches = {str(seed): cache_of(tmp_path / f"{seed}.h5", seed, views=2) for seed in range(streams)}
    whole = caches["0"] if streams == 1 else StreamSplit(caches)
    part = ClipSubset(whole, {IDS[2], IDS[0]})
    assert list(part) == part.ids == [IDS[0], IDS[2]] and len(part) == 2
    assert part.row_ids == [IDS[0], IDS[0], IDS[2], IDS[2]]
    assert part.texts == [TEXTS[0], TEXTS[2]] and part.dim == whole.dim
    assert part.lengths.tolist() == [whole.lengths[row].tolist() for row in (0, 1, 4, 5)]
    assert part.steps.tolist() == [whole.steps[0], whole.steps[2]]
    for row, of_whole in enumerate((0, 1, 4, 5)):
        assert np.array_equal(np.asarray(part.row(row)), np.asarray(whole.row(of_whole)))
    with pytest.raises(KeyError):
        part[IDS[1]]
    hashes = {one.clips_sha256 for one in (part, whole, ClipSubset(whole, {IDS[0]}), ClipSubset(whole, {IDS[1]}))}
    assert len(hashes) == 4


def test_clips_that_could_not_be_read_are_listed_too(tmp_path: Path) -> None:
    one, two = cache_of(tmp_path / "one.h5", 1, drop=(IDS[1],)), cache_of(tmp_path / "two.h5", 2)
    assert listed_ids(one) == listed_ids(two) == listed_ids(StreamSplit({"one": one, "two": two})) == set(IDS)
