"""Movement read from videos: pauses are found whatever the codec, the noise and the clock; hands by their landmarks."""

from pathlib import Path

import numpy as np
import pytest

from slt_cache.config import VideoConfig
from slt_cache.corpora.base import Clip
from slt_cache.holistic.program import GROUPS
from slt_cache.video.movement import HandMovementReader, MovementReader, hand_movement
from slt_cache.video.segments import at_pauses
from slt_cache.video.stream import UnreadableVideo
from tests.helpers.fake_mediapipe import FINE, write_fake_mediapipe
from tests.helpers.joined import LOSSLESS, joined
from tests.helpers.videos import Coding, encode, x264

LOW = Coding("low.mp4", {"crf": "38", "x264-params": "keyint=12:threads=1"})


def signing(seed: int, frames: int = 40) -> np.ndarray:
    """A hand, a bright square of 14 pixels, that moves over a still background, uint8 [T, 120, 160, 3]."""
    random = np.random.default_rng(seed)
    background = random.integers(60, 130, (15, 20, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    clip = np.stack([background] * frames)
    for number, frame in enumerate(clip):
        top, left = (int(40 + 30 * turn(number * 0.35 + seed)) for turn in (np.sin, np.cos))
        frame[top : top + 14, left + 20 : left + 34] = 230
    return clip


def found(path: Path, workers: int = 0) -> list[tuple[float, float]]:
    clip = Clip(path.name, "test", path, None, None, "")
    [parts] = at_pauses([clip], MovementReader(VideoConfig()), workers, 0.4)
    assert isinstance(parts, list), parts
    return [(part.start or 0.0, part.end or 0.0) for part in parts]


@pytest.mark.parametrize(
    ("filler", "coding", "noise"),
    [("last", LOSSLESS, 0), ("next", LOW, 0), ("half", LOW, 4), ("black", LOW, 0), ("last", LOSSLESS, 12)],
)
def test_segments_have_the_times_of_the_clips(tmp_path: Path, filler: str, coding: Coding, noise: float) -> None:
    path = tmp_path / coding.name
    times = joined(path, [signing(seed) for seed in range(3)], 12, filler, coding, noise)
    assert found(path) == [pytest.approx(time, abs=0.13) for time in times]


def test_a_video_without_pauses_is_one_segment_and_one_without_movement_has_none(tmp_path: Path) -> None:
    joined(tmp_path / "a.mkv", [signing(1, 60)], 0)
    assert found(tmp_path / "a.mkv") == [(0.0, 2.4)]
    joined(tmp_path / "b.mkv", [signing(1, 1)], 50, noise=12)
    still = Clip("b", "test", tmp_path / "b.mkv", None, None, "")
    [reason] = at_pauses([still], MovementReader(VideoConfig()), 0, 0.4)
    assert isinstance(reason, UnreadableVideo) and reason.reason.startswith("nothing moves in it")


def test_times_are_those_of_the_videos_own_clock(tmp_path: Path) -> None:
    """50 frames per second, begun 2 s late; and a pause that is a single long frame."""
    clips = np.concatenate([signing(0, 100), signing(0, 100)[-1:].repeat(50, 0), signing(5, 100)])
    late = [2000 + 20 * number for number in range(250)]
    path = encode(tmp_path / "late.mkv", Coding("late.mkv", x264("keyint=50"), times=late), 250, lambda n: clips[n], 50)
    [first, second] = found(path, workers=1)
    times = [number * 20 + (1000 if number >= 100 else 0) for number in range(200)]
    moving = np.concatenate([clips[:100], clips[150:]])
    path = encode(tmp_path / "gap.mkv", Coding("gap.mkv", x264("keyint=50"), times=times), 200, lambda n: moving[n], 50)
    assert [first[0], second[1]] == pytest.approx([first[0], first[0] + 5], abs=0.05)
    assert [first[1] - first[0], second[1] - second[0]] == pytest.approx([2, 2], abs=0.1)
    assert found(path) == [pytest.approx(time, abs=0.1) for time in ((0, 2), (3, 5))]


def test_hands_move_by_their_wrists_or_by_their_fingers_and_rest_where_they_are_not_seen() -> None:
    points = np.full((4, 75, 4), 0.0, np.float32)
    points[..., 3] = 0.9
    points[:, 11, 0], points[:, 12, 0] = 0.1, -0.1  # shoulders, 0.2 widths apart
    points[2:, 15, 1] = 0.02  # the left wrist moves once
    points[3, 33:54, 0] = 0.01  # then the fingers of the left hand
    assert hand_movement(points) == pytest.approx([0, 10, 5])
    points[2, 15, 3] = 0.1
    points[3, 33:54] = np.nan
    assert hand_movement(points) == pytest.approx([0, 0, 0])
    assert [count for _, count in GROUPS[:3]] == [33, 21, 21]


def test_hands_are_read_by_mediapipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hands that the stand-in finds do not move, though the picture does."""
    monkeypatch.setenv("PYTHONPATH", str(write_fake_mediapipe(tmp_path / "packages")))
    clip = signing(1, 30)
    clip[:, 0, 0, 0] = FINE
    joined(tmp_path / "a.mkv", [clip], 0)
    clips = [Clip("a", "test", tmp_path / "a.mkv", None, None, "")]
    [reason] = at_pauses(clips, HandMovementReader(VideoConfig()), 0, 0.4)
    assert isinstance(reason, UnreadableVideo) and reason.reason.startswith("nothing moves in it")
