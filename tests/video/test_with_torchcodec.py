"""torchcodec, where it is installed: the frames that a sequential read gives, however a video was written. Where it is
not, a message."""

import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from slt_cache.batches.clips import AugmentedClips
from slt_cache.config import AugmentationConfig, FeaturesConfig, VideoConfig
from slt_cache.encoders.base import spec_settings
from slt_cache.errors import InputError
from slt_cache.video import decode, with_decord
from slt_cache.video.chunks import ChunkReader, ClipEnd, plain
from slt_cache.video.decoders import DECODERS, require_decoder
from slt_cache.video.frame_cache import FrameCache
from slt_cache.video.frames import read_kept_frames
from slt_cache.video.reader_pool import read_ahead
from slt_cache.video.stream import UnreadableVideo
from slt_cache.video.with_torchcodec import require_torchcodec
from tests.helpers.commands import slt_cache
from tests.helpers.videos import Coding, decoded
from tests.video.test_decode import BY_DECORD, BY_PYAV, FRAMES, assert_same, clip_of, written

READER = VideoConfig(resize=36, size=32, decoder="torchcodec")


@pytest.fixture
def torchcodec() -> None:
    try:
        require_torchcodec()
    except InputError as error:
        pytest.skip(str(error))


@pytest.mark.usefixtures("torchcodec")
@pytest.mark.parametrize("coding", [*BY_DECORD, *BY_PYAV], ids=lambda coding: coding.name)
def test_kept_frames_and_cuts_are_those_of_a_sequential_read(tmp_path: Path, coding: Coding) -> None:
    video = written(tmp_path, coding)
    every = decoded(video)
    for keep_every in range(1, 9):
        for phase in range(keep_every):
            kept = read_kept_frames(clip_of(video), keep_every, phase, decoder="torchcodec")
            assert kept.num_frames == FRAMES
            assert_same(kept.frames, every[phase::keep_every])
    times = np.arange(FRAMES) / 25 if coding.times is None else (np.array(coding.times) - coding.times[0]) / 1000
    for first, last in ((7, 40), (17, 21), (19, 58), (33, 34), (59, 60)):
        end = times[last] if last < FRAMES else None
        for keep_every in (1, 4):
            kept = read_kept_frames(clip_of(video, float(times[first]), end), keep_every, decoder="torchcodec")
            assert kept.num_frames == last - first
            assert_same(kept.frames, every[first:last:keep_every])


@pytest.mark.usefixtures("torchcodec")
def test_torchcodec_itself_reads_what_decord_would_to_the_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    videos = [written(tmp_path, coding) for coding in BY_DECORD]
    expected = [read_kept_frames(clip_of(video, 0.4), 3, 1, decoder="decord").frames for video in videos]
    for module, other in ((decode, "_by_pyav"), (with_decord, "_decord_reader")):
        monkeypatch.setattr(module, other, lambda *_: pytest.fail("another decoder was used"))
    for video, frames in zip(videos, expected, strict=True):
        assert np.array_equal(read_kept_frames(clip_of(video, 0.4), 3, 1, decoder="torchcodec").frames, frames)


@pytest.mark.usefixtures("torchcodec")
def test_resampled_frames_and_chunks_are_the_same_from_torchcodec(tmp_path: Path) -> None:
    clip = clip_of(written(tmp_path, BY_DECORD[0]), 0.4, 0.8)
    for fps in (0.0, 50.0, 12.5):
        ours = read_kept_frames(clip, 1, fps=fps, decoder="torchcodec").frames
        assert_same(ours, list(read_kept_frames(clip, 1, fps=fps).frames))


@pytest.mark.usefixtures("torchcodec")
@pytest.mark.parametrize("workers", [0, 2])
def test_readers_give_the_frames_of_torchcodec_or_why_there_are_none(tmp_path: Path, workers: int) -> None:
    video = written(tmp_path, BY_DECORD[0])
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(video.read_bytes()[:3000])
    reader = ChunkReader(READER)
    events = [*read_ahead(plain([clip_of(video), clip_of(cut), clip_of(video)]), reader, workers)]
    ends = [event for event in events if isinstance(event, (ClipEnd, UnreadableVideo))]
    assert [isinstance(end, ClipEnd) for end in ends] == [True, False, True]


@pytest.mark.parametrize(
    ("is_installed", "message"),
    [
        (False, r"^video\.decoder torchcodec: not installed \(.*pip install torchcodec, or set video\.decoder=auto"),
        (True, r"cannot be loaded \(Could not load libtorchcodec\)\. Install FFmpeg 4 to 8"),
    ],
    ids=["missing", "without FFmpeg"],
)
def test_a_torchcodec_that_cannot_be_used_is_named_before_a_video_is_read(
    monkeypatch: pytest.MonkeyPatch, is_installed: bool, message: str
) -> None:
    for name in ("torchcodec", "torchcodec.decoders"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    if is_installed:
        monkeypatch.setattr(sys, "meta_path", [_Raises(), *sys.meta_path])
    else:
        monkeypatch.setitem(sys.modules, "torchcodec", None)
    for use in (
        require_torchcodec,
        lambda: ChunkReader(READER),
        lambda: AugmentedClips([], READER, AugmentationConfig(), 0),
    ):
        with pytest.raises(InputError, match=message):
            use()


class _Raises:
    """Finder of modules that fails as torchcodec does without FFmpeg."""

    def find_spec(self, name: str, *_: Any) -> None:
        if name.startswith("torchcodec"):
            raise RuntimeError("Could not load libtorchcodec\nLikely causes: ...")


def test_an_extraction_without_torchcodec_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torchcodec", None)
    monkeypatch.delitem(sys.modules, "torchcodec.decoders", raising=False)
    done = slt_cache("bench", "extract", "--config", "avatar", "--clips", "1", "--set", "video.decoder=torchcodec")
    assert done.code == 2
    assert "video.decoder torchcodec: not installed" in done.err.splitlines()[-1]


def test_the_setting_takes_every_decoder_that_there_is() -> None:
    assert get_args(VideoConfig.model_fields["decoder"].annotation) == tuple(DECODERS)


def test_a_decord_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(with_decord, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"^video\.decoder decord: not installed.*Set video\.decoder=auto"):
        require_decoder("decord")
    require_decoder("auto")
    require_decoder("pyav")


@pytest.mark.parametrize("coding", BY_DECORD[:3], ids=lambda coding: coding.name)
def test_pyav_alone_gives_the_same_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, coding: Coding) -> None:
    clip = clip_of(written(tmp_path, coding), 0.4)
    expected = read_kept_frames(clip, 4, 1, decoder="decord")
    assert np.array_equal(expected.frames, read_kept_frames(clip, 4, 1).frames)
    monkeypatch.setattr(with_decord, "_decord_reader", lambda path: pytest.fail("decord opened it"))
    found = read_kept_frames(clip, 4, 1, decoder="pyav")
    assert found.num_frames == expected.num_frames
    assert_same(found.frames, list(expected.frames))


def test_specs_and_records_do_not_know_the_decoder_since_its_frames_are_the_same() -> None:
    def known(decoder: str) -> tuple[Any, ...]:
        video = VideoConfig.model_validate({"decoder": decoder})
        return spec_settings(video, FeaturesConfig(), AugmentationConfig()), video.recorded()

    assert all(known(name) == known("auto") for name in ("decord", "pyav", "torchcodec"))
    assert known("auto")[0]["decoder"] == "decord"


def test_a_frame_cache_of_torchcodec_names_its_version_and_others_are_as_before(tmp_path: Path) -> None:
    caches = {
        name: FrameCache(tmp_path, VideoConfig.model_validate({"decoder": name}), 1)
        for name in ("auto", "pyav", "torchcodec")
    }
    assert caches["auto"].settings == caches["pyav"].settings
    assert "torchcodec" not in caches["auto"].settings["decoders"]
    assert "torchcodec" in caches["torchcodec"].settings["decoders"]
