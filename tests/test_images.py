"""Frames of a folder, of whatever kind of image: their colours as they are stored."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from slt_cache.corpora.clips import Clip
from slt_cache.video.frames import read_kept_frames


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
