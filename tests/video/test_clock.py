"""Cuts in seconds follow the container's clock, as players and annotation tools do, whatever the container is."""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slt_cache.corpora.base import Clip
from slt_cache.video.decode import video_timeline
from slt_cache.video.frames import open_frames, read_kept_frames
from slt_cache.video.packets import packet_index
from slt_cache.video.windows import windows
from tests.conftest import read_number
from tests.helpers.videos import Coding, copied, encode, encode_with_sound, x264

CASES = Path(__file__).parents[3] / "shared" / "cases"
KINDS: dict[str, dict[str, Any]] = {
    "a.mp4": {},
    "a.mov": {},
    "a.mkv": {},
    "a.webm": {"codec": "libvpx", "sound": "libopus"},
    "a.ts": {},
    "a.avi": {"codec": "mpeg4", "sound": "mp2"},
    "a.flv": {},
    "a.nut": {},
}
LATE = 0.8


def clip_of(video: Path, start: float | None = None, end: float | None = None) -> Clip:
    return Clip("a clip", "train", video, start, end, "ein satz")


def shown(video: Path, start: float | None = None, end: float | None = None, fps: float = 0.0) -> list[int]:
    return [read_number(frame) for frame in read_kept_frames(clip_of(video, start, end), 1, fps=fps).frames]


@pytest.fixture(scope="module", params=list(KINDS))
def late(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encode_with_sound(tmp_path_factory.mktemp("late") / request.param, 60, LATE, **KINDS[request.param])


def test_a_video_that_starts_later_than_its_sound_is_cut_by_the_containers_clock(late: Path) -> None:
    assert shown(late, 2.01, 2.21) == [30, 31, 32, 33, 34]
    assert shown(late, None, 1.01) == [0, 1, 2, 3, 4]
    assert shown(late, 3.01, None) == [55, 56, 57, 58, 59]
    assert shown(late, 2.01, 2.41, fps=12.5) == [30, 32, 34, 36, 38]
    assert shown(late) == list(range(60))


def test_what_lies_before_a_late_video_has_no_frame_and_the_message_says_when_it_begins(late: Path) -> None:
    if late.suffix == ".avi":
        pytest.skip("this writer shows the first frame of an avi file at once")
    with pytest.raises(Exception, match=r"no frame lies between 0\.1 s and 0\.6 s of its 3\.2\d s; .* at 0\.8\d s"):
        open_frames(clip_of(late, 0.1, 0.6), 1)


def test_windows_of_a_late_video_begin_with_its_container(late: Path) -> None:
    parts = windows(clip_of(late), 0.5)
    assert [part.start for part in parts] == [0.0] * (late.suffix == ".avi") + [0.5, 1.0, 1.5, 2.0, 2.5]
    assert parts[-1].end == pytest.approx(3.2, abs=0.03)
    numbers = [number for part in parts for number in shown(part.video, part.start, part.end)]
    assert numbers == [0] * (late.suffix == ".avi") + list(range(60))  # what is held from one into the next is in both


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "flv"])
def test_a_video_alone_begins_its_containers_clock_whatever_its_stamps_begin_at(tmp_path: Path, suffix: str) -> None:
    video = encode(tmp_path / "a.mp4", Coding("a.mp4", x264("keyint=10:bframes=2:b-adapt=0")), 60)

    def hours_later(number: int, packet: Any) -> Any:
        packet.pts += int(36_000 / packet.time_base)
        packet.dts += int(36_000 / packet.time_base)
        return packet

    moved = copied(video, tmp_path / f"moved.{suffix}", hours_later)
    assert shown(moved, 0.4, 0.6) == [10, 11, 12, 13, 14]
    assert video_timeline(moved) == video_timeline(video)


def with_empty_edit(video: Path, out: Path, seconds: float) -> Path:
    """The mp4 file with an edit list that shows nothing at first, as editors leave it for a late track."""
    data = bytearray(video.read_bytes())
    assert data.index(b"moov") > data.index(b"mdat")  # so that what follows the list may move
    at = data.index(b"elst") - 4
    length, scale = (
        struct.unpack(">I", data[at : at + 4])[0],
        struct.unpack(">I", data[(m := data.index(b"mvhd") + 16) : m + 4])[0],
    )
    data[at + 12 : at + 16] = struct.pack(">I", 2)
    data[at + 16 : at + 16] = struct.pack(">IiHH", round(seconds * scale), -1, 1, 0)
    data[at : at + 4] = struct.pack(">I", length + 12)
    track = max(place for place in range(at) if data[place : place + 4] == b"trak") - 4
    for box in (at - 8, track, data.index(b"moov") - 4):
        data[box : box + 4] = struct.pack(">I", struct.unpack(">I", data[box : box + 4])[0] + 12)
    out.write_bytes(data)
    return out


def test_an_edit_list_that_delays_the_pictures_delays_them(tmp_path: Path) -> None:
    video = encode_with_sound(tmp_path / "a.mp4", 60, 0.0)
    moved = with_empty_edit(video, tmp_path / "late.mp4", 0.4)
    assert shown(video, 1.0, 1.2) == [25, 26, 27, 28, 29]
    assert shown(moved, 1.0, 1.2) == [15, 16, 17, 18, 19]


# --- time stamps that repeat or are missing

IRREGULAR = np.cumsum(np.random.default_rng(3).integers(15, 110, 60)).tolist()


@pytest.fixture(scope="module")
def irregular(tmp_path_factory: pytest.TempPathFactory) -> Path:
    coding = Coding(
        "a.webm",
        {"deadline": "realtime", "cpu-used": "8", "auto-alt-ref": "0"},
        "libvpx",
        times=IRREGULAR,
        key_every=20,
    )
    return encode(tmp_path_factory.mktemp("irregular") / coding.name, coding, 60)


def with_repeated(video: Path, out: Path, bad: set[int]) -> Path:
    """The file with frames of these numbers stamped as the frames before them."""
    before = 0

    def change(number: int, packet: Any) -> Any:
        nonlocal before
        if number in bad:
            packet.pts = packet.dts = before
        before = packet.pts
        return packet

    return copied(video, out, change)


def cuts() -> Sequence[tuple[float, float]]:
    times = (np.array(IRREGULAR) - IRREGULAR[0]) / 1000
    return [(float(times[first]), float(times[last])) for first, last in ((3, 9), (12, 30), (25, 59))]


@pytest.mark.parametrize("bad", [7, 20, 41])
def test_one_time_stamp_that_repeats_moves_no_other_frame_and_is_no_news(
    irregular: Path, tmp_path: Path, bad: int
) -> None:
    video = with_repeated(irregular, tmp_path / "dup.mkv", {bad})
    assert packet_index(video).notes == ()
    for start, end in cuts():
        found, expected = shown(video, start, end), shown(irregular, start, end)
        assert set(found) ^ set(expected) <= {bad - 1, bad}
        assert found == list(range(found[0], found[-1] + 1))
    assert shown(video) == list(range(60))


def test_many_time_stamps_that_repeat_are_said(irregular: Path, tmp_path: Path) -> None:
    video = with_repeated(irregular, tmp_path / "dups.mkv", set(range(5, 60, 6)))
    [add_issue] = packet_index(video).notes
    assert add_issue.startswith("10 of the time stamps of its 60 frames repeat")
    assert shown(video) == list(range(60))
    start, end = cuts()[1]
    assert abs(shown(video, start, end)[0] - shown(irregular, start, end)[0]) <= 1


@pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not there")
@pytest.mark.parametrize("name", ["dup_dup.webm", "nodup_dup.webm"])
def test_a_shared_video_with_one_repeated_stamp_is_cut_as_its_twin(name: str) -> None:
    found = read_kept_frames(clip_of(CASES / name, 2.0, 2.6), 1).frames
    whole = read_kept_frames(clip_of(CASES / name), 1).frames
    assert np.array_equal(found, whole[40:52])


@pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not there")
def test_the_shared_late_video_is_cut_by_its_containers_clock() -> None:
    whole = read_kept_frames(clip_of(CASES / "late.mp4"), 1).frames
    assert np.array_equal(read_kept_frames(clip_of(CASES / "late.mp4", 2.0, 2.2), 1).frames, whole[30:35])


# --- pauses

PAUSED = Coding("a.mkv", x264("keyint=20:bframes=2:b-adapt=0"))
PAUSED_VP8 = Coding("a.webm", {"deadline": "realtime", "auto-alt-ref": "0"}, "libvpx")


@pytest.mark.parametrize("codec", [PAUSED, PAUSED_VP8], ids=["x264", "vp8"])
def test_a_cut_inside_a_pause_shows_the_held_frame(tmp_path: Path, codec: Coding) -> None:
    times = [40 * number + (2000 if number > 25 else 0) for number in range(60)]  # frame 25 is held from 1.0 to 3.04 s
    video = encode(tmp_path / codec.name, Coding(codec.name, codec.options, codec.codec, times=times), 60)
    for start, end in ((1.2, 1.4), (1.5, 2.5), (2.2, 2.8), (2.5, 3.0), (3.0, 3.01)):
        assert shown(video, start, end) == [25], (start, end)
    assert shown(video, 2.5, 3.2) == [25, 26, 27, 28, 29]
    assert shown(video, 0.88, 2.9) == [22, 23, 24, 25]
    assert shown(video, 3.04, 3.2) == [26, 27, 28, 29]
    assert shown(video, 1.5, 2.5, fps=10.0) == [25] * 10
    assert shown(video, 2.6, 3.2, fps=25.0) == [25] * 11 + [26, 27, 28, 29]


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
@pytest.mark.parametrize("bad", [{17}, {8, 30, 44}])
def test_stamps_that_repeat_in_a_video_with_b_frames_move_no_other_frame(
    tmp_path: Path, name: str, bad: set[int]
) -> None:
    coding = Coding("source.mp4", x264("keyint=20:min-keyint=20:bframes=2:b-adapt=0:scenecut=0"), times=IRREGULAR)
    video = encode(tmp_path / coding.name, coding, 60)
    stamps = sorted(packet for packet in packet_index(video).pts.tolist())  # type: ignore[union-attr]

    def change(number: int, packet: Any) -> Any:
        place = stamps.index(packet.pts)
        packet.pts = stamps[place - 1] if place in bad else packet.pts
        return packet

    repeated = copied(video, tmp_path / f"repeated.{name[2:]}", change)
    assert shown(repeated) == list(range(60))
    for start, end in cuts():
        found, expected = shown(repeated, start, end), shown(video, start, end)
        assert found == list(range(found[0], found[-1] + 1))
        assert set(found) ^ set(expected) <= bad | {place - 1 for place in bad}


WITH_B_FRAMES = Coding("source.mp4", x264("keyint=20:min-keyint=20:bframes=3:b-adapt=0:scenecut=0"))


@pytest.mark.parametrize("kind", ["ts", "mkv", "flv"])
@pytest.mark.parametrize(
    ("wrong", "bad"),
    [("repeats", {31}), ("repeats", {11, 31, 71}), ("wild", {0, 20}), ("wild", {31}), ("absent", {31})],
)
def test_wrong_stamps_in_a_video_with_b_frames_neither_move_frames_nor_make_it_unreadable(
    tmp_path: Path, kind: str, wrong: str, bad: set[int]
) -> None:
    if wrong == "absent" and kind != "ts":
        pytest.skip("this container has a stamp for each frame")
    video = encode(tmp_path / WITH_B_FRAMES.name, WITH_B_FRAMES, 90)
    before = 0

    def change(number: int, packet: Any) -> Any:
        nonlocal before
        right = packet.pts
        if number in bad:
            packet.pts = {"repeats": before, "wild": right + int(900 / packet.time_base)}.get(wrong)
        before = right
        return packet

    damaged = copied(video, tmp_path / f"damaged.{kind}", change)
    assert packet_index(damaged).seconds is not None
    assert len(packet_index(damaged).notes) == (len(bad) > 1)
    assert shown(damaged) == list(range(90))
    for start in (0.4, 1.0, 1.16, 1.24, 2.0, 3.2):
        first = round(25 * start)
        assert shown(damaged, start, start + 0.24) == list(range(first, first + 6))
