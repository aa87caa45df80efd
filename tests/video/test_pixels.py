"""Pixels as a player shows them: square ones, one size for a whole video, and a word where the colours differ."""

import struct
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from slt_cache.config import VideoConfig
from slt_cache.corpora.base import Clip
from slt_cache.video import packets, reader_pool
from slt_cache.video.chunks import ChunkReader, ClipEnd, plain
from slt_cache.video.frames import read_kept_frames
from slt_cache.video.packets import packet_index
from slt_cache.video.reader_pool import read_ahead
from slt_cache.video.stream import UnreadableVideo
from tests.conftest import draw_number, read_number
from tests.helpers.videos import with_matrix

CASES = Path(__file__).parents[3] / "shared" / "cases"
READER = ChunkReader(VideoConfig(keep_rate=1.0, resize=36, size=32, fit="crop"))


def clip_of(video: Path, start: float | None = None, end: float | None = None) -> Clip:
    return Clip("a clip", "train", video, start, end, "ein satz")


def encoded(path: Path, codec: str, sizes: list[tuple[int, int]], **properties: Any) -> Path:
    """Ten frames of each height and width, one after another in one stream; frame i shows i."""
    packets: list[Any] = []
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.height, stream.width = sizes[0]
        for name, value in properties.items():
            setattr(stream.codec_context, name, value)
        for part, (height, width) in enumerate(sizes):
            coder: Any = stream.codec_context if part == 0 else av.CodecContext.create(codec, "w")
            if part:
                coder.height, coder.width, coder.pix_fmt = height, width, "yuv420p"
                coder.time_base, coder.framerate = Fraction(1, 25), Fraction(25)
            for number in range(10 * part, 10 * part + 10):
                picture = np.asarray(
                    Image.fromarray(draw_number(number)).resize((width, height), Image.Resampling.NEAREST)
                )
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 25)
                packets += coder.encode(frame)
            packets += coder.encode()
        for packet in packets:
            packet.stream = stream
            container.mux(packet)
    return path


@pytest.mark.parametrize(
    ("codec", "name"),
    [("libx264", "a.mp4"), ("libx264", "a.mkv"), ("libx264", "a.ts"), ("mpeg4", "a.avi"), ("mpeg4", "a.mov")],
)
@pytest.mark.parametrize(("aspect", "width"), [((16, 11), 186), ((8, 9), 114), ((1, 1), 128)])
@pytest.mark.parametrize("decord", [True, False])
def test_frames_are_as_wide_as_their_pixel_aspect_makes_them(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    codec: str,
    name: str,
    aspect: tuple[int, int],
    width: int,
    decord: bool,
) -> None:
    if not decord:
        monkeypatch.setitem(sys.modules, "decord", None)
    video = encoded(tmp_path / name, codec, [(96, 128)], sample_aspect_ratio=Fraction(*aspect))
    frames = read_kept_frames(clip_of(video), 1).frames
    assert frames.shape == (10, 96, width, 3)
    assert [read_number(np.asarray(Image.fromarray(frame).resize((64, 48)))) for frame in frames] == list(range(10))


def test_pixels_are_made_square_before_a_video_is_turned(tmp_path: Path) -> None:
    lying = encoded(tmp_path / "a.mp4", "libx264", [(96, 128)], sample_aspect_ratio=Fraction(16, 11))
    upright = with_matrix(lying, tmp_path / "upright.mp4", 0, 1, -1, 0)
    assert read_kept_frames(clip_of(upright), 1).frames.shape == (10, 186, 96, 3)


def test_an_absurd_pixel_aspect_is_said_and_not_applied(tmp_path: Path) -> None:
    video = encoded(tmp_path / "a.mp4", "libx264", [(96, 128)], sample_aspect_ratio=Fraction(16, 11))
    data = video.read_bytes()
    place = data.index(b"pasp") + 4
    video.write_bytes(data[:place] + struct.pack(">II", 200, 1) + data[place + 8 :])
    assert read_kept_frames(clip_of(video), 1).frames.shape == (10, 96, 128, 3)
    [add_issue] = packet_index(video).notes
    assert "200 times as wide" in add_issue


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG"), (1, None)])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_video_in_hdr_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, transfer: int, name: str | None, workers: int
) -> None:
    monkeypatch.setattr(reader_pool, "_printed", set())
    video = encoded(tmp_path / "a.mp4", "libx264", [(96, 128)], color_trc=transfer)
    clips = [clip_of(video, 0.0, 0.2), clip_of(video, 0.2, 0.4), clip_of(video)]
    ends = [event for event in read_ahead(plain(clips), READER, workers) if isinstance(event, ClipEnd)]
    assert len(ends) == 3
    said = capsys.readouterr().err.splitlines()
    assert len(said) == (name is not None)
    if name:
        assert str(video) in said[0]
        assert f"HDR ({name})" in said[0]


@pytest.mark.parametrize(
    "sizes", [[(96, 128), (48, 64)], [(48, 64), (96, 128)], [(96, 128), (128, 96), (96, 128)]], ids=str
)
@pytest.mark.parametrize("decord", [True, False])
def test_a_video_that_changes_its_resolution_is_scaled_to_its_first_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sizes: list[tuple[int, int]], decord: bool
) -> None:
    if not decord:
        monkeypatch.setitem(sys.modules, "decord", None)
    video = encoded(tmp_path / "a.mkv", "libvpx", sizes)
    for first, last in ((0, 10 * len(sizes)), (5, 15), (12, 18)):
        frames = read_kept_frames(clip_of(video, first / 25, last / 25), 1).frames
        assert frames.shape == (last - first, *sizes[0], 3)
        small = [np.asarray(Image.fromarray(frame).resize((64, 48))) for frame in frames]
        assert [read_number(frame) for frame in small] == list(range(first, last))


@pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not there")
def test_the_shared_video_that_changes_its_resolution_is_alike_in_every_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    by_decord = read_kept_frames(clip_of(CASES / "reschange.mkv"), 1).frames
    monkeypatch.setitem(sys.modules, "decord", None)
    by_pyav = read_kept_frames(clip_of(CASES / "reschange.mkv"), 1).frames
    assert by_decord.shape == by_pyav.shape == (40, 144, 192, 3)
    assert np.abs(by_decord.astype(int) - by_pyav).mean() < 2


@pytest.mark.parametrize("name", ["a.mp4", "a.avi"])
def test_frames_that_would_take_gigabytes_are_refused_before_one_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    video = encoded(tmp_path / name, "mpeg4", [(96, 128)])
    monkeypatch.setattr(packets, "MOST_PIXELS", 96 * 128 - 1)
    with pytest.raises(UnreadableVideo, match="frames of 128 x 96 pixels exceed the limit"):
        read_kept_frames(clip_of(video), 1)
