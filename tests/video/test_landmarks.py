"""Landmarks in place of frames: the same in any order and from any number of readers, whatever a clip does to the child
process with MediaPipe. Here a stand-in takes MediaPipe's place."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from slt_cache.config import VideoConfig
from slt_cache.corpora.base import Clip
from slt_cache.holistic import child
from slt_cache.video import landmarks as landmarks_module
from slt_cache.video.chunks import ClipEnd, ClipView
from slt_cache.video.landmarks import LandmarkReader
from slt_cache.video.reader_pool import read_ahead
from slt_cache.video.stream import UnreadableVideo
from tests.helpers.fake_mediapipe import (
    CRASH,
    FINE,
    HANG,
    KILLED_ONCE,
    NO_LEFT_HAND,
    RAISE,
    write_fake_mediapipe,
    write_frames,
)

READER = LandmarkReader(VideoConfig(keep_rate=0.5, resize=36, size=32))


@pytest.fixture(autouse=True)
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PYTHONPATH", str(write_fake_mediapipe(tmp_path / "packages")))
    running: dict[tuple[int, str | None], child.Holistic] = {}
    monkeypatch.setattr(child, "_running", running)
    yield
    for one in running.values():
        one.end()


def clips_of(folder: Path, orders: Sequence[Sequence[int]]) -> list[Clip]:
    folders = [write_frames(folder / f"clip{n}", of_clip) for n, of_clip in enumerate(orders)]
    return [Clip(path.name, "train", path, None, None, "ein satz") for path in folders]


def read(clips: Sequence[Clip], workers: int, reader: LandmarkReader = READER) -> list[torch.Tensor | str]:
    """Returns the landmarks of each clip, or the reason why there are none."""
    found: list[torch.Tensor | str] = []
    chunks: list[torch.Tensor] = []
    for event in read_ahead(map(ClipView, clips), reader, workers):
        if isinstance(event, torch.Tensor):
            chunks.append(event.clone())
            continue
        assert isinstance(event, ClipEnd | UnreadableVideo)
        found.append(torch.cat(chunks) if isinstance(event, ClipEnd) else event.reason)
        chunks = []
    return found


def test_a_clip_has_the_same_landmarks_after_any_other_and_from_any_reader(tmp_path: Path) -> None:
    clips = clips_of(tmp_path, [[FINE] * 5, [NO_LEFT_HAND] * 3, [FINE] * 5, [FINE] * 8])
    alone = [read([clip], 0)[0] for clip in clips]
    assert [len(one) for one in alone] == [3, 2, 3, 4]
    first, _, third, _ = alone
    assert isinstance(first, torch.Tensor) and isinstance(third, torch.Tensor)
    torch.testing.assert_close(first, third, rtol=0, atol=0, equal_nan=True)
    for order, workers in ((clips, 0), (clips[::-1], 0), (clips, 1), (clips[::-1], 3)):
        for clip, found in zip(order, read(order, workers), strict=True):
            expected = alone[clips.index(clip)]
            assert isinstance(found, torch.Tensor) and isinstance(expected, torch.Tensor)
            torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


def test_landmarks_are_in_widths_from_the_middle_of_the_frame_and_nan_where_none_was_found(tmp_path: Path) -> None:
    [clip] = clips_of(tmp_path, [[NO_LEFT_HAND]])
    [found] = read([clip], 0)
    assert isinstance(found, torch.Tensor)
    assert found.shape == (1, 543, 4)
    # Frames are 24 x 12: y is halved. Landmark 2 of the body is at (0.12, 0.5), that of the right hand at (0.22, 0.7).
    np.testing.assert_allclose(found[0, 2], [-0.38, 0.0, 0.002, 0.9], atol=1e-6)
    np.testing.assert_allclose(found[0, 33 + 21 + 2], [-0.28, 0.1, 0.002, 0.0], atol=1e-6)
    assert found[0, 33 : 33 + 21].isnan().all()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_clip_that_crashes_or_hangs_mediapipe_costs_no_other_clip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setattr(child, "PATIENCE", 3)
    monkeypatch.setattr(landmarks_module, "PATIENCE", 3)
    orders = [[FINE] * 4, [FINE, FINE, CRASH], [RAISE], [FINE] * 4, [HANG], [FINE] * 4]
    found = read(clips_of(tmp_path, orders), workers)
    assert found[1] == "MediaPipe crashed on it twice (SIGSEGV)"
    assert found[2] == "MediaPipe crashed on it twice (exit code 1): RuntimeError: the graph failed"
    assert found[4] == "MediaPipe gave no answer in 3 seconds"
    for number in (3, 5):
        torch.testing.assert_close(found[number], found[0], rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_clip_whose_child_was_killed_is_read_once_more_and_no_frame_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setenv("FAKE_ONCE", str(tmp_path / "killed"))
    monkeypatch.setattr(landmarks_module, "LONGEST_CHUNK", 0.0)  # each frame is passed on
    clips = clips_of(tmp_path, [[FINE] * 5, [FINE, FINE, KILLED_ONCE, FINE, FINE]])
    expected, found = read(clips, workers)
    assert (tmp_path / "killed").exists()
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


def test_black_frames_are_black_for_mediapipe_too(tmp_path: Path) -> None:
    [clip] = clips_of(tmp_path, [[NO_LEFT_HAND]])
    [found] = read([clip], 0, LandmarkReader(VideoConfig(blank=True)))
    assert isinstance(found, torch.Tensor)
    assert not found.isnan().any()  # the first pixel says that all is fine


@pytest.mark.skipif(sys.platform != "linux", reason="the system ends children with their parents on Linux only")
def test_the_child_ends_with_a_killed_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_PIDS", str(tmp_path / "pids"))
    code = (
        "from slt_cache.holistic.child import holistic; import time; holistic(None); print(flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    parent.stdout.readline()
    parent.kill()
    parent.communicate()
    process = int((tmp_path / "pids").read_text())
    for _ in range(100):
        try:
            os.kill(process, signal.SIG_DFL)
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return
        if state == "Z":
            return
        time.sleep(0.1)
    raise AssertionError("the child still runs")
