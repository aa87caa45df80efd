"""Features of earlier extractions: which clips they are of, and which they are no longer of."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from slt_cache.corpora.base import Clip
from slt_cache.features.kept import KeptFeatures
from slt_cache.features.layout import SplitMetadata
from tests.helpers.caches import IDS, TEXTS, add_split, facts_of, rows_of, spec_of, spec_with_views

SOURCE = "100-aa-bb - -"


def cached(path: Path, seed: int = 0, views: int = 1, metadata: SplitMetadata | None = None) -> Path:
    rows = [replace(row, source=SOURCE) for row in rows_of(seed=seed, views=views)]
    add_split(path, rows, metadata or facts_of(spec=spec_with_views(views) if views > 1 else None))
    return path


def clip(number: int, text: str | None = None, start: float | None = None) -> Clip:
    return Clip(IDS[number], "train", Path("nowhere.mp4"), start, None, text or TEXTS[number])


def test_all_views_of_an_unchanged_clip_come_back_with_its_sentence_of_today(tmp_path: Path) -> None:
    kept = KeptFeatures(facts_of(spec=spec_with_views(2)), [cached(tmp_path / "feats.h5", views=2)])
    rows = kept.rows(clip(1, "ein neuer satz"), SOURCE)
    assert rows is not None and kept.ids == set(IDS)
    assert [row.text for row in rows] == ["ein neuer satz"] * 2
    for row, written in zip(rows, rows_of(views=2)[2:4], strict=True):
        assert np.array_equal(row.features, written.features)
        assert (row.num_frames, row.fps, row.source) == (written.num_frames, written.fps, SOURCE)


def test_another_video_or_other_times_are_not_held_and_a_video_that_is_gone_is(tmp_path: Path) -> None:
    kept = KeptFeatures(facts_of(), [cached(tmp_path / "feats.h5")])
    assert kept.holds(clip(0), SOURCE) and kept.holds(clip(0), "")
    assert not kept.holds(clip(0), "100-aa-cc - -")
    assert not kept.holds(clip(0, start=0.5), "100-aa-bb 0.5 -")
    assert not kept.holds(clip(0, start=0.5), "")
    assert kept.rows(clip(0, start=0.5), "") is None


def test_later_files_take_precedence_and_another_manifest_is_noted(tmp_path: Path) -> None:
    files = [cached(tmp_path / "a.h5"), cached(tmp_path / "b.h5", seed=1, metadata=facts_of(manifest="n" * 64))]
    assert not KeptFeatures(facts_of(), files[:1]).of_other_manifests
    kept = KeptFeatures(facts_of(), files)
    rows = kept.rows(clip(2), SOURCE)
    assert kept.of_other_manifests and rows is not None
    assert np.array_equal(rows[0].features, rows_of(seed=1)[2].features)


@pytest.mark.parametrize("kind", ["other spec", "other split", "cut off", "no cache", "absent"])
def test_a_file_that_does_not_fit_or_is_damaged_holds_nothing(tmp_path: Path, kind: str) -> None:
    path = cached(tmp_path / "feats.h5")
    asked = {"other spec": facts_of(spec=spec_of(level="frame")), "other split": facts_of("dev")}
    if kind == "cut off":
        path.write_bytes(path.read_bytes()[:-100])
    elif kind == "no cache":
        path.write_bytes(b"no cache")
    elif kind == "absent":
        path.unlink()
    kept = KeptFeatures(asked.get(kind, facts_of()), [path])
    assert kept.ids == set() and kept.rows(clip(0), SOURCE) is None


def test_a_clip_whose_features_are_damaged_is_read_again_and_the_others_are_kept(tmp_path: Path) -> None:
    path = cached(tmp_path / "feats.h5")
    data, features = path.read_bytes(), rows_of()[2].features.tobytes()
    path.write_bytes(data.replace(features, bytes([features[0] ^ 1]) + features[1:]))
    kept = KeptFeatures(facts_of(), [path])
    assert kept.rows(clip(2), SOURCE) is None
    assert kept.rows(clip(0), SOURCE) is not None
