"""Verification names every damage with its place, and damages nothing itself."""

from pathlib import Path

import pytest

from slt_cache.errors import InputError
from slt_cache.features.cache import FeatureCache
from slt_cache.features.layout import Failure
from slt_cache.features.verify import cache_problems, open_verified, split_problems
from tests.helpers.caches import IDS, add_split, facts_of, rows_of, spec_with_views


def test_a_whole_cache_has_no_problem_its_missing_clips_are_none_and_every_row_is_counted(tmp_path: Path) -> None:
    path, seen = tmp_path / "feats.h5", []
    spec = spec_with_views(2)
    add_split(path, rows_of(views=2), facts_of(spec=spec), missing=(Failure("gone", "empty file"),))
    add_split(path, rows_of(views=2), facts_of("dev", spec))
    before = path.read_bytes()
    assert cache_problems(path, lambda done, rows: seen.append((done, rows))) == []
    assert seen == [(row, 16) for row in range(1, 17)]
    assert path.read_bytes() == before


def test_one_changed_number_names_its_clip(tmp_path: Path) -> None:
    path = tmp_path / "feats.h5"
    add_split(path, rows := rows_of())
    data = bytearray(path.read_bytes())
    data[bytes(data).index(rows[2].features.tobytes())] ^= 1
    path.write_bytes(data)
    file, problems = open_verified(path)
    assert file is not None
    assert problems == [f"train/features: clip {IDS[2]!r} does not match its checksum"]
    assert list(split_problems(FeatureCache(path, "train", verify=False))) == problems


def test_what_cannot_be_opened_is_a_problem_and_what_is_not_there_an_error(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("no cache")
    file, problems = open_verified(tmp_path / "text.h5")
    assert file is None
    assert len(problems) == 1
    with pytest.raises(InputError, match=r"none\.h5"):
        cache_problems(tmp_path / "none.h5")
