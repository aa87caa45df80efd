"""What of videos is translated: how pauses are found, and which of the videos are cut."""

import sys
from pathlib import Path

import pytest

from slt_cache.config import EncoderConfig, VideoConfig
from slt_cache.corpora.base import Clip
from slt_cache.decoding.parts import Cuts, cut, movement_reader_of
from slt_cache.encoders.registry import open_encoder
from slt_cache.errors import InputError
from slt_cache.holistic import child
from slt_cache.video.movement import HandMovementReader, MovementReader
from slt_cache.video.stream import UnreadableVideo
from tests.helpers.fake_mediapipe import write_fake_mediapipe
from tests.helpers.joined import joined
from tests.video.test_movement import signing


@pytest.fixture
def mediapipe(tmp_path: Path) -> str:
    """A file that starts an interpreter with MediaPipe's stand-in."""
    folder = write_fake_mediapipe(tmp_path / "packages")
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={folder} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    child.installed.cache_clear()
    return str(python)


def test_auto_finds_pauses_by_the_hands_where_mediapipe_is_set_and_else_by_motion(mediapipe: str) -> None:
    pose = open_encoder(EncoderConfig(name="pose:mediapipe", python=mediapipe), VideoConfig())
    for encoders, python, kind, expected in (
        ((), None, "auto", MovementReader),
        ((), mediapipe, "auto", HandMovementReader),
        ((pose,), mediapipe, "auto", HandMovementReader),
        ((pose,), mediapipe, "motion", MovementReader),
        ((), mediapipe, "pose", HandMovementReader),
    ):
        reader = movement_reader_of(encoders, python, kind)
        assert type(reader) is expected
        assert not isinstance(reader, HandMovementReader) or reader.python == mediapipe


def test_an_unreadable_video_keeps_its_place_in_any_combination(tmp_path: Path) -> None:
    joined(tmp_path / "a.mkv", [signing(1), signing(2)], 15)
    clips = [Clip(name, "test", tmp_path / name, None, None, "") for name in ("no.mkv", "a.mkv", "nor.mkv")]
    for cuts, count in ((Cuts(segment="auto"), 2), (Cuts(segment="auto", window=0.8), 4), (Cuts(), 1)):
        first, *parts, last = cut(clips, cuts, (), None, 0, quiet=True)
        assert len(parts) == count and all(clip.video == clips[1].video for clip, _ in parts)
        if cuts.segment:
            assert isinstance(first[1], UnreadableVideo) and isinstance(last[1], UnreadableVideo)


@pytest.mark.parametrize(("window", "pause"), [(0.0, 1.0), (float("nan"), 1.0), (1.0, float("nan")), (None, -1.0)])
def test_times_of_no_length_are_refused(window: float | None, pause: float) -> None:
    with pytest.raises(InputError, match="must have at least"):
        Cuts(window, "auto", pause)
