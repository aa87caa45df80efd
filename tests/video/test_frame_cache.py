"""Decoded frames on disk: the same as decoded anew, whatever happens to the files."""

import json
import multiprocessing
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from slt_cache.batches.clips import AugmentedClips, clip_loader
from slt_cache.config import AugmentationConfig, VideoConfig
from slt_cache.corpora.base import Clip
from slt_cache.files import temporary_path
from slt_cache.text.tokenizer import Tokenizer
from slt_cache.video import frame_cache
from slt_cache.video.frame_cache import FrameCache
from slt_cache.video.frames import read_kept_frames
from slt_cache.video.stream import UnreadableVideo
from slt_cache.video.transforms import square
from tests.helpers.small_disks import fill, small_disk

VIDEO = VideoConfig(resize=36, size=32)
AUGMENTATION = AugmentationConfig(
    shift=0.1, flip=0.5, brightness=0.3, rotation=10.0, contrast=0.3, saturation=0.3, hue=0.1
)
"""Everything on."""


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> list[Clip]:
    """Clips of 9, 12, 15 and 18 frames, and a cut of the last."""
    folder = tmp_path_factory.mktemp("clips")
    whole = [
        Clip(f"clip/{n}", "train", make_video(folder / f"{n}.mp4", 9 + 3 * n, first=n), None, None, f"heute {n} grad")
        for n in range(4)
    ]
    return [*whole, replace(whole[3], id="cut", start=0.12, end=0.48)]


@pytest.fixture
def cache(tmp_path: Path) -> FrameCache:
    return FrameCache(tmp_path / "frames", VIDEO, 1)


def decoded(clip: Clip, phase: int, video: VideoConfig = VIDEO) -> torch.Tensor:
    return square(read_kept_frames(clip, video.keep_every, phase, video.fps).frames, video)


def not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on whoever decodes fails."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(frame_cache, "open_frames", refuse)
    monkeypatch.setattr(frame_cache, "read_kept_frames", refuse)


def same(first: torch.Tensor, second: torch.Tensor) -> bool:
    return torch.equal(first, second) and first.dtype == second.dtype


@pytest.mark.parametrize("video", [VIDEO, VIDEO.model_copy(update={"fps": 10.0, "fit": "crop"})])
def test_frames_from_disk_are_those_that_are_decoded(
    clips: list[Clip], tmp_path: Path, video: VideoConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = FrameCache(tmp_path, video, 1)
    expected = {(clip.id, phase): decoded(clip, phase, video) for clip in clips for phase in range(4)}
    assert all(same(cache.read(clip, 2), expected[clip.id, 2]) for clip in clips)
    not_decoded(monkeypatch)
    for clip in clips:
        for phase in range(4):
            assert same(cache.read(clip, phase), expected[clip.id, phase])


def test_without_a_phase_only_the_kept_frames_are_held(clips: list[Clip], tmp_path: Path) -> None:
    cache = FrameCache(tmp_path, VIDEO, VIDEO.keep_every)
    for _ in range(2):
        assert same(cache.read(clips[3], 0), decoded(clips[3], 0))
    assert cache.path(clips[3]).stat().st_size // (3 * 36 * 36) == 5


def test_a_folder_of_frames_is_held_too(tmp_path: Path, cache: FrameCache) -> None:
    from PIL import Image

    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(6):
        Image.fromarray(np.full((40, 50, 3), 40 * number, np.uint8)).save(folder / f"{number}.png")
    clip = Clip("folder", "train", folder, None, None, "ein satz")
    for _ in range(2):
        assert same(cache.read(clip, 1), decoded(clip, 1))
    Image.fromarray(np.full((40, 50, 3), 7, np.uint8)).save(folder / "1.png")
    assert same(cache.read(clip, 1), decoded(clip, 1))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("phase", [True, False])
def test_training_batches_are_the_same_with_it(
    clips: list[Clip], tokenizer: Tokenizer, tmp_path: Path, workers: int, phase: bool
) -> None:
    augmentation = AUGMENTATION.model_copy(update={"phase": phase})

    def batches(cache: FrameCache | None) -> list[Any]:
        loader = clip_loader(
            clips,
            VIDEO,
            tokenizer,
            batch_size=2,
            workers=workers,
            seed=3,
            augmentation=augmentation,
            frame_cache=cache,
        )
        found = []
        for epoch in (1, 2):
            sampler: Any = loader.batch_sampler
            sampler.epoch = epoch
            found += list(loader)
        return found

    plain = batches(None)
    held = batches(FrameCache(tmp_path, VIDEO, 1 if phase else VIDEO.keep_every))
    assert [batch.ids for batch in plain] == [batch.ids for batch in held]
    assert all(torch.equal(one.frames, other.frames) for one, other in zip(plain, held, strict=True))
    assert len(list(tmp_path.iterdir())) == len(clips)


# --- what may happen to the files


def flip_a_bit(data: bytearray) -> None:
    data[-5] ^= 1


def flip_a_bit_of_the_header(data: bytearray) -> None:
    data[data.index(b"num_frames") + 14] ^= 1


def cut_off(data: bytearray) -> None:
    del data[-100:]


def empty(data: bytearray) -> None:
    data.clear()


def no_header(data: bytearray) -> None:
    data[:] = b"\0" * len(data)


@pytest.mark.parametrize("damage", [flip_a_bit, flip_a_bit_of_the_header, cut_off, empty, no_header])
def test_a_damaged_file_is_noticed_and_written_anew(
    clips: list[Clip],
    cache: FrameCache,
    damage: Callable[[bytearray], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    cache.read(clips[0], 0)
    path = cache.path(clips[0])
    whole = path.read_bytes()
    data = bytearray(whole)
    damage(data)
    path.write_bytes(data)
    assert same(cache.read(clips[0], 0), decoded(clips[0], 0))
    assert "clip 'clip/0': its frames" in capsys.readouterr().err
    assert path.read_bytes() == whole


def test_frames_of_another_video_or_other_settings_are_read_anew(
    clips: list[Clip], tmp_path: Path, make_video: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    clip = replace(clips[0], video=make_video(tmp_path / "one.mp4", 12))
    cache = FrameCache(tmp_path / "frames", VIDEO, 1)
    cache.read(clip, 0)
    make_video(clip.video, 12, first=100)
    assert same(cache.read(clip, 0), decoded(clip, 0))
    assert "have another" in capsys.readouterr().err
    smaller = VIDEO.model_copy(update={"resize": 32})
    for video, every in ((smaller, 1), (VIDEO, 1), (VIDEO, 4), (VIDEO.model_copy(update={"fit": "crop"}), 1)):
        other = FrameCache(tmp_path / "frames", video, every)
        assert same(other.read(clip, 0), decoded(clip, 0, video))
        assert "another" in capsys.readouterr().err
        assert same(other.read(clip, 0), decoded(clip, 0, video))
        assert capsys.readouterr().err == ""
    cut = replace(clip, start=0.04)
    assert same(other.read(cut, 0), decoded(cut, 0, other.video))


def test_a_killed_writer_leaves_nothing_that_is_read(clips: list[Clip], cache: FrameCache) -> None:
    process = multiprocessing.get_context("fork").Process(target=_die_while_writing, args=(cache, clips[0]))
    process.start()
    process.join(30)
    assert process.exitcode == 9
    [left] = cache.folder.iterdir()
    assert left.name.endswith(".tmp")
    assert same(cache.read(clips[0], 0), decoded(clips[0], 0))
    ours = temporary_path(cache.path(clips[1]))
    ours.write_bytes(b"half")
    cache.clean()
    assert ours.exists()  # its process is alive
    ours.unlink()
    assert list(cache.folder.iterdir()) == [cache.path(clips[0])]


def _die_while_writing(cache: FrameCache, clip: Clip) -> None:
    def die(*_: Any) -> None:
        os._exit(9)

    Path.replace = die  # type: ignore[assignment,method-assign]
    cache.read(clip, 0)


def test_where_nothing_can_be_written_frames_are_decoded(
    clips: list[Clip], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "frames").write_text("a file, not a folder")
    cache = FrameCache(tmp_path / "frames", VIDEO, 1)
    for clip in clips[:2]:
        assert same(cache.read(clip, 0), decoded(clip, 0))
    assert "cannot be written" in capsys.readouterr().err
    assert not cache.writes


def test_a_disk_that_fills_up_is_said_once_and_what_was_cached_is_read(
    clips: list[Clip], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_disk(tmp_path / "disk", 1 << 18) as disk:
        cache = FrameCache(disk / "frames", VIDEO, 1)
        cache.read(clips[0], 0)
        held = cache.path(clips[0])
        fill(disk, 4096)
        for clip in clips:
            assert same(cache.read(clip, 0), decoded(clip, 0))
        [line] = capsys.readouterr().err.splitlines()
        assert "(No space left on device; " in line and " are free)" in line and "already exist are used" in line
        assert list(cache.folder.iterdir()) == [held]


def test_an_unreadable_video_is_reported_as_without_it(clips: list[Clip], tmp_path: Path, cache: FrameCache) -> None:
    (tmp_path / "broken.mp4").write_text("no video")
    for video in (tmp_path / "broken.mp4", tmp_path / "nowhere.mp4"):
        dataset = AugmentedClips([replace(clips[0], video=video)], VIDEO, AUGMENTATION, 0, cache)
        assert isinstance(dataset[1, 0], UnreadableVideo)
    assert not cache.folder.exists() or not list(cache.folder.iterdir())


# --- settings and room


def test_it_changes_no_record() -> None:
    for asked in (False, True, "elsewhere"):
        video = VideoConfig(frame_cache=asked)
        assert "frame_cache" not in video.recorded()
        assert VideoConfig.model_validate(video.recorded()) == VideoConfig()


def test_the_header_is_a_line_of_json(clips: list[Clip], cache: FrameCache) -> None:
    cache.read(clips[1], 0)
    with cache.path(clips[1]).open("rb") as file:
        header = json.loads(file.readline())
    assert (header["clip"], header["num_frames"], len(header["checksums"])) == ("clip/1", 12, 12)


def test_a_box_crops_the_frames_before_they_are_resized_and_another_box_is_decoded_again(
    tmp_path: Path, clips: list[Clip]
) -> None:
    whole = clips[0]
    part = replace(whole, box=(0.26, 0.0, 0.75, 0.5))
    frames = read_kept_frames(whole, 1).frames
    height, width = frames.shape[1:3]
    by_hand = frames[:, : -(-height // 2), int(0.26 * width) : -(-3 * width // 4)]
    assert np.array_equal(read_kept_frames(part, 1).frames, by_hand)
    cache = FrameCache(tmp_path, VIDEO, 1)
    for clip, shown in ((whole, frames), (part, by_hand), (whole, frames)):
        assert torch.equal(cache.read(clip, 0), square(shown[:: VIDEO.keep_every], VIDEO))
