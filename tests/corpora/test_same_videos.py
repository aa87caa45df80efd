"""Clips that show the same pictures are found under any name."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from slt_cache.corpora.base import Clip
from slt_cache.corpora.same_videos import OVERLAP, SAME_IN_SPLIT, SAME_VIDEO, shared_videos
from tests.conftest import write_video


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds."""
    return write_video(tmp_path_factory.mktemp("videos") / "v.mp4", 50)


def clip(name: str, split: str, video: Path, start: float | None = None, end: float | None = None) -> Clip:
    return Clip(name, split, video, start, end, "t")


def test_overlapping_cuts_of_one_video_in_different_splits_are_counted(tmp_path: Path, video: Path) -> None:
    clips = [
        clip("a", "train", video, 0.0, 1.0),
        clip("b", "test", video, 0.8, 1.4),
        clip("c", "train", video, 1.4, 1.6),  # begins where b ends
        clip("d", "train", video, 0.2, 0.5),  # within a, of the same split
        clip("e", "dev", video, 1.59, 1.8),  # rounding
    ]
    assert shared_videos(clips) == {OVERLAP: ["a (train) and b (test) by 0.20 s: v.mp4"]}
    whole = clip("f", "dev", video)
    assert len(shared_videos([*clips, whole])[OVERLAP]) == 5


@pytest.mark.parametrize("kind", ["link", "hard link", "copy"])
def test_one_video_under_two_names_is_found_whatever_made_the_other(tmp_path: Path, video: Path, kind: str) -> None:
    other, third = tmp_path / "other.mp4", write_video(tmp_path / "third.mp4", 50, first=1)
    make: dict[str, Callable[[Path], object]] = {
        "link": other.symlink_to,
        "hard link": other.hardlink_to,
        "copy": lambda path: shutil.copy(path, other),
    }
    make[kind](video)
    os.truncate(third, video.stat().st_size)  # of the same size, and another video
    clips = [
        clip("a", "train", video, 0.0, 1.0),
        clip("b", "test", other, 1.0, 2.0),
        clip("c", "test", third, 0.0, 1.0),
    ]
    found = shared_videos(clips)
    assert list(found) == [SAME_VIDEO]
    assert "(clips of test, train)" in found[SAME_VIDEO][0]
    assert list(shared_videos([clips[0], clip("b", "train", other)])) == [SAME_IN_SPLIT]
    assert OVERLAP in shared_videos([clips[0], clip("b", "test", other, 0.5, 2.0)])


def test_copies_of_folders_of_frames_are_found_too(tmp_path: Path) -> None:
    for name, data in (("a", b"one"), ("b", b"one"), ("c", b"two")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(data)
    found = shared_videos(
        [clip(name, split, tmp_path / name) for name, split in (("a", "train"), ("b", "dev"), ("c", "test"))]
    )
    assert [entry.count("/") > 0 and "c" not in Path(entry.split(",")[0]).name for entry in found[SAME_VIDEO]] == [True]
