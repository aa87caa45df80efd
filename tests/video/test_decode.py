"""What comes out of a video file, however it was written: the frames that a sequential read gives, as a player shows
them; a cut of a long one without decoding what is before it."""

import ctypes
import gc
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from slt_cache.corpora.base import Clip
from slt_cache.video import decode
from slt_cache.video import stream as stream_module
from slt_cache.video.frames import KeptFrames, open_frames, read_kept_frames
from slt_cache.video.packets import packet_index
from slt_cache.video.stream import UnreadableVideo
from tests.conftest import draw_number, read_number
from tests.helpers.videos import (
    Coding,
    decoded,
    draw_long_number,
    encode,
    read_long_number,
    with_beginning_at,
    with_hidden_frames,
    with_matrix,
    x264,
)

REAL_CLIPS = Path(__file__).parents[3] / "shared" / "real" / "how2sign" / "clips"
FRAMES = 60
IRREGULAR = np.cumsum(np.random.default_rng(0).integers(10, 120, FRAMES)).tolist()
B_FRAMES = "keyint=12:min-keyint=12:bframes=2:b-adapt=0:scenecut=0"
OPEN = "keyint=20:min-keyint=5:bframes=3:b-adapt=0:scenecut=0:open-gop=1"
BY_DECORD = (
    Coding("b-frames.mp4", x264(B_FRAMES)),
    Coding("pyramid.mkv", x264("keyint=30:bframes=8:b-adapt=0:b-pyramid=normal:scenecut=0")),
    Coding("one-key.mp4", x264("keyint=250:bframes=3")),
    Coding("all-keys.mp4", x264("keyint=1")),
    Coding("irregular.mp4", x264("keyint=20:bframes=3:b-adapt=0"), times=IRREGULAR),
    Coding("mpeg4.mp4", {"b": "2000k"}, "mpeg4", key_every=12, b_frames=0),
    Coding("vp9.webm", {"deadline": "realtime", "cpu-used": "8"}, "libvpx-vp9", key_every=20),
    Coding("lossless.mkv", {}, "ffv1"),
    Coding("vp8.webm", {"deadline": "realtime", "cpu-used": "8", "auto-alt-ref": "0"}, "libvpx", key_every=20),
)
BY_PYAV = (
    Coding("open.mp4", x264(OPEN)),
    Coding("open.mkv", x264(OPEN)),
    Coding("hevc.mp4", {"preset": "ultrafast", "x265-params": "log-level=none:keyint=20:bframes=3"}, "libx265"),
    Coding("b-frames-mpeg4.mp4", {"b": "2000k"}, "mpeg4", key_every=12, b_frames=2),
    Coding("b-frames.avi", x264(B_FRAMES)),
    Coding("b-frames.ts", x264(B_FRAMES)),
    Coding("b-frames.flv", x264(B_FRAMES)),
    Coding("mpeg2.mpg", {"b": "3000k"}, "mpeg2video", key_every=12, b_frames=2),
    Coding("motion-jpeg.avi", {}, "mjpeg", "yuvj420p"),
)


def clip_of(video: Path, start: float | None = None, end: float | None = None) -> Clip:
    return Clip("a clip", "train", video, start, end, "ein satz")


def written(folder: Path, coding: Coding, frames: int = FRAMES) -> Path:
    import av

    if coding.codec not in av.codec.codecs_available:
        pytest.skip(f"this PyAV has no {coding.codec}")
    return encode(folder / coding.name, coding, frames)


def assert_same(found: np.ndarray, expected: list[np.ndarray]) -> None:
    assert [read_number(frame) for frame in found] == [read_number(frame) for frame in expected]
    assert np.abs(found.astype(np.int16) - np.stack(expected)).mean() < 2  # FFmpegs round in their own ways


@pytest.mark.parametrize("coding", [*BY_DECORD, *BY_PYAV], ids=lambda coding: coding.name)
def test_kept_frames_are_those_of_a_sequential_read_however_a_video_is_written(tmp_path: Path, coding: Coding) -> None:
    video = written(tmp_path, coding)
    every = decoded(video)
    assert [read_number(frame) for frame in every] == list(range(FRAMES))
    assert packet_index(video).exact_seeks == (coding in BY_DECORD)
    for keep_every in range(1, 9):
        for phase in range(keep_every):
            kept = read_kept_frames(clip_of(video), keep_every, phase)
            assert kept.num_frames == FRAMES
            assert_same(kept.frames, every[phase::keep_every])


@pytest.mark.parametrize("coding", [*BY_DECORD, *BY_PYAV], ids=lambda coding: coding.name)
def test_a_cut_is_that_of_a_sequential_read_however_a_video_is_written(tmp_path: Path, coding: Coding) -> None:
    video = written(tmp_path, coding)
    every = decoded(video)
    times = np.arange(FRAMES) / 25 if coding.times is None else (np.array(coding.times) - coding.times[0]) / 1000
    for first, last in ((7, 40), (17, 21), (19, 58), (33, 34), (59, 60)):
        end = times[last] if last < FRAMES else None
        for keep_every in (1, 4):
            kept = read_kept_frames(clip_of(video, float(times[first]), end), keep_every)
            assert kept.num_frames == last - first
            assert_same(kept.frames, every[first:last:keep_every])


def test_a_video_that_is_newer_than_decord_is_read(tmp_path: Path) -> None:
    coding = Coding("av1.mp4", {"preset": "12"}, "libsvtav1")
    large = lambda number: np.pad(draw_number(number), ((0, 16), (0, 0), (0, 0)))  # noqa: E731  # 64 rows, its least
    import av

    if coding.codec not in av.codec.codecs_available:
        pytest.skip("this PyAV has no encoder of AV1")
    video = encode(tmp_path / coding.name, coding, FRAMES, large)
    assert [read_number(frame) for frame in read_kept_frames(clip_of(video, 0.4), 4).frames] == list(range(10, 60, 4))


@pytest.mark.parametrize("coding", BY_DECORD, ids=lambda coding: coding.name)
def test_where_decord_is_not_installed_the_frames_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, coding: Coding
) -> None:
    clip = clip_of(written(tmp_path, coding), 0.4)
    with_decord = read_kept_frames(clip, 4, 1)
    monkeypatch.setitem(sys.modules, "decord", None)
    without = read_kept_frames(clip, 4, 1)
    assert without.num_frames == with_decord.num_frames
    assert_same(without.frames, list(with_decord.frames))


def test_a_bad_video_is_named_where_decord_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "decord", None)
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video at all")
    with pytest.raises(UnreadableVideo, match=r"bad\.mp4.*it cannot be read \(Invalid data"):
        open_frames(clip_of(bad), 4)


@pytest.mark.parametrize("name", ["list.m3u8", "list.mp4", "list.txt"])
def test_a_playlist_does_not_show_other_files(tmp_path: Path, name: str) -> None:
    video = written(tmp_path, BY_DECORD[0])
    lists = {"list.txt": f"ffconcat version 1.0\nfile '{video}'\n"}
    playlist = tmp_path / name
    playlist.write_text(lists.get(name, f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:2.4,\n{video}\n#EXT-X-ENDLIST\n"))
    with pytest.raises(UnreadableVideo, match=r"cannot be read \((a playlist, or a container that|Invalid data)"):
        open_frames(clip_of(playlist), 4)


def test_frames_of_vp8_that_are_not_shown_are_none(tmp_path: Path) -> None:
    """Encoders hide some that only others are made of; a reader that counts them gives wrong frames behind them."""
    vp8 = next(coding for coding in BY_DECORD if coding.codec == "libvpx")
    video = with_hidden_frames(written(tmp_path, vp8), tmp_path / "hidden.webm", {13, 14, 47})
    every = decoded(video)
    assert [read_number(frame) for frame in every] == [number for number in range(FRAMES) if number not in {13, 14, 47}]
    assert not packet_index(video).exact_seeks
    for keep_every in (1, 4):
        kept = read_kept_frames(clip_of(video), keep_every)
        assert kept.num_frames == FRAMES - 3
        assert_same(kept.frames, every[::keep_every])


def test_a_video_whose_name_looks_like_a_protocol_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, BY_DECORD[0]).rename("2024-05-01T12:30:00.mp4")
    assert read_kept_frames(clip_of(Path("2024-05-01T12:30:00.mp4")), 4).num_frames == FRAMES


@pytest.mark.parametrize("frames", [5, 14])
def test_frames_that_an_edit_list_drops_do_not_come(tmp_path: Path, frames: int) -> None:
    video = with_beginning_at(written(tmp_path, BY_DECORD[0]), tmp_path / "cut.mp4", frames)
    every = decoded(video)
    assert read_number(every[0]) == frames
    for keep_every in (1, 3, 4):
        assert_same(read_kept_frames(clip_of(video), keep_every).frames, every[::keep_every])


@pytest.mark.parametrize("coding", [BY_DECORD[0], BY_PYAV[0]], ids=["decord", "pyav"])
def test_a_video_in_pieces_is_the_whole_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, coding: Coding) -> None:
    clip = clip_of(written(tmp_path, coding), 0.4)
    whole = read_kept_frames(clip, 3, 1, fps=40.0).frames
    monkeypatch.setattr(stream_module, "CHUNK_BYTES", 7 * 48 * 64 * 3)
    pieces = list(open_frames(clip, 3, 1, fps=40.0).chunks)
    assert max(map(len, pieces)) == 7
    assert np.array_equal(np.concatenate(pieces), whole)


@pytest.mark.parametrize("coding", [BY_DECORD[0], BY_PYAV[0]], ids=["decord", "pyav"])
def test_a_video_that_is_cut_off_between_two_packets_is_not_a_shorter_one(tmp_path: Path, coding: Coding) -> None:
    import av

    whole, half = tmp_path / "whole.mp4", tmp_path / "half.mp4"
    with (
        av.open(str(written(tmp_path, coding))) as source,
        av.open(str(whole), "w", options={"movflags": "faststart"}) as out,
    ):
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    assert len(read_kept_frames(clip_of(whole), 1).frames) == FRAMES
    data = whole.read_bytes()
    with av.open(str(whole)) as container:
        begins = [packet.pos for packet in container.demux(video=0) if packet.size]
    for end in (*begins, *range(len(data) // 2, len(data), 997)):
        half.write_bytes(data[:end])
        with pytest.raises(UnreadableVideo):
            read_kept_frames(clip_of(half), 1)


# --- as a player shows it


@pytest.mark.parametrize(
    ("matrix", "turned"),
    [
        ((0, 1, -1, 0), lambda frame: np.rot90(frame, -1)),
        ((-1, 0, 0, -1), lambda frame: np.rot90(frame, 2)),
        ((0, -1, 1, 0), lambda frame: np.rot90(frame, 1)),
        ((-1, 0, 0, 1), np.fliplr),
        ((1, 0, 0, -1), np.flipud),
        ((0, 1, 1, 0), lambda frame: frame.swapaxes(0, 1)),
    ],
    ids=["90", "180", "270", "mirrored", "upended", "transposed"],
)
def test_a_video_comes_as_its_display_matrix_turns_it(
    tmp_path: Path, matrix: tuple[int, int, int, int], turned: Callable[[np.ndarray], np.ndarray]
) -> None:
    lying = written(tmp_path, BY_DECORD[0])
    upright = with_matrix(lying, tmp_path / "upright.mp4", *matrix)
    expected = [turned(frame) for frame in read_kept_frames(clip_of(lying), 4).frames]
    assert np.array_equal(read_kept_frames(clip_of(upright), 4).frames, np.stack(expected))
    assert not packet_index(upright).exact_seeks  # decord turns, and gives broken rows


def two_colours(height: int, width: int) -> np.ndarray:
    """Orange on the left, blue on the right."""
    frame = np.full((height, width, 3), (30, 60, 220), np.uint8)
    frame[:, : width // 2] = (200, 120, 40)
    return frame


@pytest.mark.parametrize(
    ("coding", "height", "width"),
    [
        (Coding("a.mp4", pixels="yuv444p"), 143, 175),
        (Coding("a.webm", {"deadline": "realtime"}, "libvpx-vp9"), 143, 175),
        (Coding("a.mp4", {"b": "3000k"}, "mpeg4"), 143, 175),
        (Coding("a.mkv", codec="ffv1", pixels="bgr0"), 1, 175),
        (Coding("a.mov", codec="png", pixels="rgb24"), 50, 1),
        (Coding("a.mkv", codec="ffv1", pixels="bgra"), 48, 64),
        (Coding("a.mp4", pixels="yuv444p"), 2, 3),
        (Coding("a.mp4"), 30, 46),
        (Coding("a.mp4", pixels="yuv420p10le"), 48, 64),
    ],
    ids=lambda value: f"{value.codec}-{value.pixels}" if isinstance(value, Coding) else str(value),
)
def test_odd_sizes_and_pixel_formats_keep_their_colours(
    tmp_path: Path, coding: Coding, height: int, width: int
) -> None:
    picture = two_colours(height, width)
    kept = read_kept_frames(clip_of(encode(tmp_path / coding.name, coding, 5, lambda number: picture)), 2)
    assert (kept.frames.shape, kept.num_frames) == ((3, height, width, 3), 5)
    distances = np.abs(kept.frames.astype(int) - picture).mean(axis=(0, 3))
    assert np.median(distances) < 8  # at the border of two colours there is a blend


@pytest.mark.parametrize("width", [*range(8, 34, 2), 42, 46, 48, 50, 54, 62, 64, 66, 84, 86, 126, 130])
def test_every_width_has_three_channels_and_straight_rows(tmp_path: Path, width: int) -> None:
    picture = two_colours(10, width)
    [frame] = read_kept_frames(
        clip_of(encode(tmp_path / "a.mp4", Coding("a.mp4"), 1, lambda number: picture)), 1
    ).frames
    assert frame.shape == (10, width, 3)
    assert np.abs(frame[:, : width // 2 - 2].astype(int) - (200, 120, 40)).max(initial=0) < 20
    assert np.abs(frame[:, width // 2 + 2 :].astype(int) - (30, 60, 220)).max(initial=0) < 20


@pytest.mark.parametrize("pixels", ["gray", "gray16le"])
@pytest.mark.parametrize("width", [175, 30])
def test_a_grey_video_keeps_its_shades(tmp_path: Path, pixels: str, width: int) -> None:
    shades = np.repeat(np.linspace(0, 255, width).astype(np.uint8)[None, :, None], 21, axis=0).repeat(3, axis=2)
    video = encode(tmp_path / "a.mkv", Coding("a.mkv", codec="ffv1", pixels=pixels), 2, lambda number: shades)
    for frame in read_kept_frames(clip_of(video), 1).frames:
        assert np.abs(frame.astype(int) - shades).max() <= 1


# --- other rates


@pytest.mark.parametrize("coding", [BY_DECORD[0], BY_PYAV[0]], ids=["decord", "pyav"])
def test_a_clip_is_resampled_before_one_frame_in_so_many_is_kept(tmp_path: Path, coding: Coding) -> None:
    video = written(tmp_path, coding)

    def numbers(kept: KeptFrames) -> list[int]:
        return [read_number(frame) for frame in kept.frames]

    half = read_kept_frames(clip_of(video), 2, fps=12.5)
    assert (half.num_frames, numbers(half)) == (30, list(range(0, 60, 4)))
    double = read_kept_frames(clip_of(video, 0.4, 0.8), 1, fps=50.0)
    assert double.num_frames == 20
    assert numbers(double)[:7] == [10, 11, 11, 12, 12, 13, 13]
    assert numbers(double)[-1] == 19
    same = read_kept_frames(clip_of(video, 0.4, 0.8), 3, 1, fps=25.0)
    assert np.array_equal(same.frames, read_kept_frames(clip_of(video, 0.4, 0.8), 3, 1).frames)
    assert open_frames(clip_of(video), 4, fps=10.0).fps == 10.0


def test_an_irregular_video_is_resampled_by_the_times_of_its_frames(tmp_path: Path) -> None:
    video = written(tmp_path, next(coding for coding in BY_DECORD if coding.times))
    times = (np.array(IRREGULAR) - IRREGULAR[0]) / 1000
    kept = read_kept_frames(clip_of(video), 1, fps=5.0)
    for step, frame in enumerate(kept.frames):
        distance = abs(times[read_number(frame)] - step / 5)
        assert distance <= np.abs(times - step / 5).min() + 1e-5


def test_a_folder_of_frames_has_no_rate_to_resample(tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(draw_number(1)).save(tmp_path / "images1.png")
    with pytest.raises(UnreadableVideo, match=r"video\.fps 25 cannot resample a folder of frames.*Set video\.fps=0"):
        open_frames(clip_of(tmp_path), 4, fps=25.0)


# --- long videos


@pytest.fixture(scope="module", params=["decord", "pyav"])
def hour(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3,600 seconds at 5 frames a second; frame i shows i."""
    gops = "keyint=50:scenecut=0:bframes=2:b-adapt=0" + (":open-gop=1" if request.param == "pyav" else "")
    coding = Coding("hour.mp4", {"preset": "ultrafast", "x264-params": f"{gops}:threads=1"})
    return encode(tmp_path_factory.mktemp("long") / coding.name, coding, 18_000, draw_long_number, rate=5)


def seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


@pytest.mark.parametrize("start", [0.0, 1800.2, 3590.4])
def test_a_cut_of_an_hour_is_the_right_one(hour: Path, start: float) -> None:
    kept = read_kept_frames(clip_of(hour, start, start + 4), 4)
    first = round(start * 5)
    assert [read_long_number(frame) for frame in kept.frames] == list(range(first, first + 20, 4))


def test_a_cut_near_the_end_of_an_hour_is_not_read_from_its_beginning(
    hour: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[int] = []
    pictures = decode._pictures

    def counted(*arguments: object) -> object:
        for number, picture in pictures(*arguments):  # type: ignore[arg-type]
            given.append(number)
            yield number, picture

    monkeypatch.setattr(decode, "_pictures", counted)
    cut = min(seconds(lambda: read_kept_frames(clip_of(hour, 3590.0, 3594.0), 4)) for _ in range(3))
    assert packet_index(hour).exact_seeks == (not given)
    assert len(set(given)) < 100
    # A pass over the packets without decoding is part of both.
    whole = seconds(lambda: [len(piece) for piece in open_frames(clip_of(hour, None, 3594.0), 4).chunks])
    assert cut < whole / 4


# --- what stays behind


def opens(clip: Clip, times: int) -> tuple[int, int]:
    """Open files and bytes of memory after so many."""
    for _ in range(times):
        next(open_frames(clip, 4).chunks)  # left before its end, as a run that is stopped leaves it
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)  # what was freed and is kept for later is no leak
    this = psutil.Process()
    return this.num_fds(), this.memory_info().rss


@pytest.mark.parametrize("coding", [BY_DECORD[0], BY_PYAV[0]], ids=["decord", "pyav"])
@pytest.mark.parametrize(("early", "late"), [(100, 300), pytest.param(1000, 4000, marks=pytest.mark.slow)])
def test_memory_and_open_files_are_flat_over_many_opens(tmp_path: Path, coding: Coding, early: int, late: int) -> None:
    clip = clip_of(written(tmp_path, coding))
    files_before, before = opens(clip, early)
    files_after, after = opens(clip, late)
    assert files_after == files_before
    assert after - before < 6e6  # one of these readers takes about 2 MB


@pytest.mark.parametrize("number", [1, 8])
def test_a_real_clip_resampled_and_cut_shows_the_frames_of_a_sequential_read(number: int) -> None:
    clips = sorted(REAL_CLIPS.glob("*.mp4"))
    if not clips:
        pytest.skip("the real clips are not there")
    every = decoded(clips[number])
    kept = read_kept_frames(clip_of(clips[number], 0.25, None), 2, fps=12.0)  # 24 a second, so every second frame
    expected = every[6::2][::2]
    assert kept.num_frames == len(every[6::2])
    assert len(kept.frames) == len(expected)
    assert np.abs(kept.frames.astype(np.int16) - np.stack(expected)).mean() < 2
