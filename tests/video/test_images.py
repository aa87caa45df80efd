"""Frames of a folder, of whatever kind of image: their colours as they are stored."""

import os
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import slt_cache
from slt_cache.config import VideoConfig
from slt_cache.corpora.base import Clip
from slt_cache.video.chunks import ChunkReader, ClipEnd, ClipView, plain
from slt_cache.video.frames import read_kept_frames
from slt_cache.video.probing import ProbedClip, VideoToProbe, probe_video
from slt_cache.video.reader_pool import read_ahead
from slt_cache.video.stream import UnreadableVideo


def frames_of(folder: Path) -> np.ndarray:
    return read_kept_frames(Clip("a clip", "train", folder, None, None, "ein satz"), 1).frames


def png(depth: int, colour_type: int, pixels: bytes) -> bytes:
    """One pixel of a kind that Pillow cannot write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 1, 1, depth, colour_type, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" + pixels)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("alpha", [0, 128, 255])
@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_alpha_is_left_out_and_colours_stay(tmp_path: Path, alpha: int, suffix: str) -> None:
    Image.new("RGBA", (4, 3), (200, 120, 40, alpha)).save(tmp_path / f"a.{suffix}", lossless=True, exact=True)
    assert np.array_equal(frames_of(tmp_path), np.full((1, 3, 4, 3), (200, 120, 40), np.uint8))


@pytest.mark.parametrize("alpha", [0, 128])
def test_grey_with_alpha_keeps_its_shade(tmp_path: Path, alpha: int) -> None:
    Image.new("LA", (4, 3), (77, alpha)).save(tmp_path / "a.png")
    assert np.unique(frames_of(tmp_path)).tolist() == [77]


def test_a_palette_with_a_transparent_colour_keeps_all_colours(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50] + [0] * 762)
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png", transparency=0)
    assert frames_of(tmp_path).tolist() == [[[[10, 20, 30], [200, 100, 50]]]]


@pytest.mark.parametrize(
    ("colour_type", "values", "expected"),
    [(2, (200, 100, 7), [200, 100, 7]), (6, (200, 100, 7, 90), [200, 100, 7]), (4, (200, 90), [200, 200, 200])],
    ids=["colour", "colour and alpha", "grey and alpha"],
)
def test_16_bits_become_8(tmp_path: Path, colour_type: int, values: tuple[int, ...], expected: list[int]) -> None:
    pixels = b"".join(struct.pack(">H", value * 257) for value in values)
    (tmp_path / "a.png").write_bytes(png(16, colour_type, pixels))
    assert frames_of(tmp_path)[0, 0, 0].tolist() == expected


def test_black_and_white_of_one_bit(tmp_path: Path) -> None:
    Image.fromarray(np.array([[True, False, True]])).save(tmp_path / "a.png")
    assert frames_of(tmp_path)[0, 0, :, 1].tolist() == [255, 0, 255]


@pytest.mark.parametrize("shape", [(1, 175), (143, 1), (1, 1), (143, 175)])
def test_images_of_any_size(tmp_path: Path, shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    assert np.array_equal(frames_of(tmp_path)[0], noise)


def test_jpegs_in_grey_and_in_print_colours(tmp_path: Path) -> None:
    Image.new("L", (16, 16), 120).save(tmp_path / "1.jpg", quality=95)
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "2.jpg", quality=95)
    grey, red = frames_of(tmp_path)[:, 8, 8].astype(int)
    assert np.abs(grey - 120).max() <= 2
    assert np.abs(red - (255, 0, 0)).max() <= 4


# --- hostile folders of frames


def refusal(folder: Path) -> str:
    with pytest.raises(UnreadableVideo) as refused:
        frames_of(folder)
    assert len(refused.value.reason) < 300
    return refused.value.reason


@pytest.mark.parametrize("kind", ["EPS", "TIFF", "GIF", "ICO", "PPM", "TGA", "PCX", "PDF"])
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_other_kinds_of_pictures_are_not_read_under_the_name_of_a_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, suffix: str
) -> None:
    """An EPS file would start Ghostscript."""
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a program was started"))
    Image.new("RGB", (32, 32), (200, 120, 40)).save(tmp_path / f"a{suffix}", format=kind)
    assert f"frame a{suffix} is broken (no PNG, JPEG, BMP, WEBP picture)" in refusal(tmp_path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "WEBP"])
def test_the_four_kinds_are_read_whatever_their_names(tmp_path: Path, kind: str, suffix: str) -> None:
    Image.new("RGB", (32, 32), (200, 120, 40)).save(tmp_path / f"a{suffix}", format=kind)
    assert np.abs(frames_of(tmp_path).astype(int) - (200, 120, 40)).max() < 6


def with_text(path: Path, text: bytes, name: bytes) -> None:
    """A PNG file with a chunk of text."""
    Image.new("RGB", (8, 8)).save(path)
    data = path.read_bytes()
    chunk = struct.pack(">I", len(text)) + name + text + struct.pack(">I", zlib.crc32(name + text))
    path.write_bytes(data[:33] + chunk + data[33:])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_png_with_a_huge_text_costs_its_clip_alone(tmp_path: Path, workers: int) -> None:
    clips = []
    for number in range(3):
        folder = tmp_path / str(number)
        folder.mkdir()
        Image.new("RGB", (8, 8)).save(folder / "0.png")
        clips.append(Clip(str(number), "train", folder, None, None, ""))
    with_text(tmp_path / "1" / "1.png", b"t\0\0" + zlib.compress(bytes(70_000_000)), b"zTXt")
    with_text(tmp_path / "2" / "1.png", b"t\0" + bytes(100), b"tEXt")
    events = read_ahead(plain(clips), ChunkReader(VideoConfig(keep_rate=1.0, resize=36, size=32)), workers)
    first, second, third = [event for event in events if isinstance(event, ClipEnd | UnreadableVideo)]
    assert isinstance(first, ClipEnd)
    assert isinstance(second, UnreadableVideo)
    assert "1.png is broken (Decompressed" in second.reason
    assert isinstance(third, ClipEnd)
    assert third.num_frames == 2


@pytest.mark.parametrize("pixels", [(10_000, 9_000), (20_000, 9_000)])
def test_a_picture_of_more_pixels_than_any_camera_has_is_refused_and_not_decoded(
    tmp_path: Path, pixels: tuple[int, int]
) -> None:
    Image.new("1", pixels).save(tmp_path / "a.png")
    assert "a.png is broken (Image size" in refusal(tmp_path)


@pytest.mark.parametrize("kind", ["pipe", "link to a pipe", "folder", "device"])
def test_a_frame_that_is_no_file_is_named_at_once(tmp_path: Path, kind: str) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "0.png")
    frame = tmp_path / "1.png"
    if kind == "pipe":
        os.mkfifo(frame)
    elif kind == "folder":
        frame.mkdir()
    elif kind == "device":
        frame.symlink_to("/dev/zero")
    else:
        os.mkfifo(tmp_path / "pipe")
        frame.symlink_to(tmp_path / "pipe")
    assert refusal(tmp_path) == "frame 1.png is not a file"


def test_a_video_that_is_a_pipe_is_named_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    clip = Clip("a clip", "train", tmp_path / "a.mp4", None, None, "")
    with pytest.raises(UnreadableVideo, match="neither a file nor a folder"):
        read_kept_frames(clip, 1)
    assert probe_video(VideoToProbe(clip.video, (clip,), 0.0)) == [ProbedClip("it is neither a file nor a folder")]


@pytest.mark.parametrize("error", [ValueError, MemoryError, KeyError, RuntimeError, OverflowError, OSError, TypeError])
def test_whatever_a_decoder_raises_costs_its_clip_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "0.png")

    def fail(*_: object, **__: object) -> None:
        raise error("x" * 1000)

    clip = Clip("a clip", "train", tmp_path, None, None, "")
    for place in ("PIL.Image.open", "slt_cache.video.frames.list_images", "slt_cache.video.images.np.stack"):
        with monkeypatch.context() as patch:
            patch.setattr(place, fail)
            refusal(tmp_path)
            [event] = list(ChunkReader(VideoConfig(resize=36, size=32)).events(ClipView(clip)))
            assert isinstance(event, UnreadableVideo)


def test_no_picture_is_opened_without_the_formats_that_it_may_have() -> None:
    package = Path(slt_cache.__file__).parent
    lines = [line for path in package.rglob("*.py") for line in path.read_text().splitlines() if "Image.open(" in line]
    assert lines
    assert all("formats=" in line for line in lines)
