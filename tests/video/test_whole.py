"""Half-downloaded files are no shorter videos; what only lacks a stated length is read."""

from io import RawIOBase
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from slt_cache.corpora.base import Clip
from slt_cache.video.frames import read_kept_frames
from slt_cache.video.packets import packet_index
from slt_cache.video.stream import UnreadableVideo
from tests.conftest import draw_number, read_number
from tests.helpers.videos import Coding, encode, encode_with_sound, x264

CASES = Path(__file__).parents[3] / "shared" / "cases"
FRAGMENTS = {"movflags": "frag_keyframe+empty_moov"}
INDEXED_FRAGMENTS = {"movflags": "dash+global_sidx+frag_keyframe"}
KINDS: dict[str, dict[str, Any]] = {
    "a.mp4": {},
    "first.mp4": {"muxer": {"movflags": "faststart"}},
    "fragments.mp4": {"muxer": FRAGMENTS},
    "indexed.mp4": {"muxer": INDEXED_FRAGMENTS},
    "a.mov": {},
    "a.mkv": {},
    "a.webm": {"codec": "libvpx", "sound": "libopus"},
    "a.avi": {"codec": "mpeg4", "sound": "mp2"},
    "a.flv": {},
}


def clip_of(video: Path, start: float | None = None, end: float | None = None) -> Clip:
    return Clip("a clip", "train", video, start, end, "ein satz")


def numbers(video: Path) -> list[int]:
    return [read_number(frame) for frame in read_kept_frames(clip_of(video), 1).frames]


@pytest.fixture(scope="module", params=list(KINDS))
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 frames, 4 s, and sound that lasts half a second longer."""
    return encode_with_sound(tmp_path_factory.mktemp("whole") / request.param, 100, 0.0, **KINDS[request.param])


def test_a_file_that_is_cut_off_anywhere_is_refused_or_loses_nothing(whole: Path, tmp_path: Path) -> None:
    assert numbers(whole) == list(range(100))
    data, cut = whole.read_bytes(), tmp_path / whole.name
    refused = 0
    for place in range(len(data) // 20, len(data), len(data) // 20):
        if data[place + 4 : place + 8] in (b"moof", b"mfra"):
            place += 4  # between two fragments, the rest of which is stated nowhere
        cut.write_bytes(data[:place])
        try:
            assert numbers(cut) == list(range(100)), f"cut off at {place} of {len(data)}"
        except UnreadableVideo:
            refused += 1
    assert refused >= 15


def test_a_file_without_its_last_third_says_where_it_ends_of_how_many_seconds(whole: Path, tmp_path: Path) -> None:
    if whole.name in ("a.mp4", "a.mov", "indexed.mp4"):
        pytest.skip("FFmpeg does not open it without its end")
    data, cut = whole.read_bytes(), tmp_path / whole.name
    cut.write_bytes(data[: len(data) * 2 // 3])
    of = ", and the rest is missing" if whole.name == "fragments.mp4" else r" of [34]\.\d\d s"
    with pytest.raises(UnreadableVideo, match=rf"cut off: its frames end at [123]\.\d\d s{of}\. Get the complete"):
        read_kept_frames(clip_of(cut), 1)
    with pytest.raises(UnreadableVideo, match="cut off"):
        read_kept_frames(clip_of(cut, 0.0, 0.5), 4)


class Pipe(RawIOBase):
    """A stream that cannot be gone back in, as a recorder or a server writes."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: Any) -> int:
        self.data += bytes(data)
        return len(data)

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False


def recorded(kind: str) -> bytes:
    """60 frames as a recorder writes them; frame i shows i."""
    pipe = Pipe()
    with av.open(pipe, "w", format=kind, options=FRAGMENTS if kind == "mp4" else {}) as container:
        stream = container.add_stream("libvpx" if kind == "webm" else "libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.codec_context.gop_size = 10
        for number in range(60):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(draw_number(number), format="rgb24")))
        container.mux(stream.encode())
    return bytes(pipe.data)


@pytest.mark.parametrize("kind", ["matroska", "webm", "flv", "mp4", "mpegts"])
def test_a_live_recording_that_states_no_length_is_read(tmp_path: Path, kind: str) -> None:
    live = tmp_path / "live"
    live.write_bytes(recorded(kind))
    assert numbers(live) == list(range(60))


@pytest.mark.parametrize("kind", ["matroska", "mpegts"])
def test_a_file_that_states_no_length_and_ends_in_the_middle_of_a_packet_is_read_and_said(
    tmp_path: Path, kind: str
) -> None:
    live = tmp_path / "live"
    live.write_bytes(data := recorded(kind))
    assert packet_index(live).notes == ()
    live.write_bytes(data[: len(data) * 2 // 3])
    [add_issue] = packet_index(live).notes
    assert "may be the beginning of a longer video" in add_issue
    found = numbers(live)
    assert 20 < len(found) < 60
    assert found[:20] == list(range(20))
    assert found == sorted(set(found))  # at the end, frames that need later ones are missing


@pytest.mark.parametrize(("name", "coding"), [("a.mpg", ("mpeg2video", "mp2")), ("a.ogv", ("libvpx", "libopus"))])
def test_a_file_that_ends_within_a_packet_or_its_head_is_said_to_do_so(
    tmp_path: Path, name: str, coding: tuple[str, str]
) -> None:
    video = encode_with_sound(tmp_path / name, 100, 0.0, codec=coding[0], sound=coding[1])
    data, cut = video.read_bytes(), tmp_path / f"cut.{name}"
    assert packet_index(video).notes == ()
    for place in (*range(len(data) * 2 // 3, len(data) * 2 // 3 + 60, 7), len(data) - 10):
        cut.write_bytes(data[:place])
        assert "it may be the beginning of a longer video" in packet_index(cut).notes[-1], place


def test_an_flv_file_that_has_the_size_it_states_is_whole_whatever_length_it_states(tmp_path: Path) -> None:
    video = encode(tmp_path / "a.flv", Coding("a.flv", x264("keyint=10")), 60)
    data = bytearray(video.read_bytes())
    place = data.index(b"duration") + 9
    data[place : place + 8] = np.array(9000.0, ">f8").tobytes()
    video.write_bytes(data)
    assert numbers(video) == list(range(60))


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.webm"])
def test_a_video_that_is_shorter_than_its_sound_is_whole(tmp_path: Path, name: str) -> None:
    codec: dict[str, Any] = {"codec": "libvpx", "sound": "libopus"} if name == "a.webm" else {}
    assert numbers(encode_with_sound(tmp_path / name, 20, 0.0, **codec)) == list(range(20))


def test_a_whole_file_whose_stated_length_is_wrong_is_read(tmp_path: Path) -> None:
    video = encode(tmp_path / "a.mkv", Coding("a.mkv", x264("keyint=10")), 60)
    data = bytearray(video.read_bytes())
    place = data.index(b"\x44\x89\x88") + 3  # the length, in a double
    data[place : place + 8] = np.array(9000.0, ">f8").tobytes()
    video.write_bytes(data)
    assert numbers(video) == list(range(60))


@pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not there")
@pytest.mark.parametrize(("name", "reason"), [("cut.mkv", "end at 4.60 s of 8.00 s"), ("cutfrag.mp4", "end at 4.5")])
def test_shared_files_that_are_cut_off_are_refused(name: str, reason: str) -> None:
    with pytest.raises(UnreadableVideo, match=f"cut off: its frames {reason}"):
        read_kept_frames(clip_of(CASES / name, 0.0, 1.0), 4)
