"""Videos of all kinds, for tests of reading them."""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from tests.conftest import FRAME, draw_number

Draw = Callable[[int], np.ndarray]


@dataclass(frozen=True)
class Coding:
    """Encoding of a video."""

    name: str
    """File name with the suffix of its container."""
    options: dict[str, str] = field(default_factory=dict)
    codec: str = "libx264"
    pixels: str = "yuv420p"
    times: Sequence[int] | None = None
    """Milliseconds of each frame; None for 25 frames per second."""
    key_every: int | None = None
    """Frames between two key frames."""
    b_frames: int | None = None


def x264(parameters: str) -> dict[str, str]:
    return {"crf": "18", "x264-params": f"{parameters}:threads=1"}


def encode(path: Path, coding: Coding, frames: int, draw: Draw = draw_number, rate: int = 25) -> Path:
    """Writes a video in which frame i shows `draw(i)`, uint8 [H, W, 3]."""
    import av

    height, width = draw(0).shape[:2]
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(coding.codec, rate=rate)
        stream.height, stream.width, stream.pix_fmt = height, width, coding.pixels
        stream.options = coding.options
        if coding.b_frames is not None:
            stream.codec_context.max_b_frames = coding.b_frames
        if coding.key_every is not None:
            stream.codec_context.gop_size = coding.key_every
        if coding.times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number in range(frames):
            picture = av.VideoFrame.from_ndarray(draw(number), format="rgb24")
            if coding.times is not None:
                picture.pts, picture.time_base = coding.times[number], Fraction(1, 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def encode_with_sound(
    path: Path,
    frames: int,
    late: float,
    *,
    codec: str = "libx264",
    sound: str = "aac",
    muxer: dict[str, str] | None = None,
) -> Path:
    """Writes a video in which frame i shows i at `late` + i / 25 seconds; sound begins at 0 and ends half a second
    after the frames."""
    import av

    with av.open(str(path), "w", options=muxer or {}) as container:
        picture: Any = container.add_stream(codec, rate=25)
        audio: Any = container.add_stream(sound, rate=48_000)
        picture.height, picture.width, picture.pix_fmt = *FRAME, "yuv420p"
        picture.codec_context.time_base, picture.codec_context.gop_size = Fraction(1, 25), 10
        audio.layout = "mono"
        packets: list[Any] = []
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(draw_number(number), format="rgb24")
            frame.pts, frame.time_base = round(late * 25) + number, Fraction(1, 25)
            packets += picture.encode(frame)
        packets += picture.encode()
        kind, count = audio.codec_context.format.name, audio.codec_context.frame_size or 1024
        silence = np.zeros((1, count), np.float32 if kind.startswith("flt") else np.int16)
        for begin in range(0, int((late + frames / 25 + 0.5) * 48_000), count):
            piece = av.AudioFrame.from_ndarray(silence, format=kind, layout="mono")
            piece.sample_rate, piece.pts, piece.time_base = 48_000, begin, Fraction(1, 48_000)
            packets += audio.encode(piece)
        packets += audio.encode()
        for packet in sorted(packets, key=lambda packet: float(packet.dts * packet.time_base)):
            container.mux(packet)
    return path


def copied(source: Path, target: Path, change: Callable[[int, Any], Any], **options: str) -> Path:
    """Copies the video stream with changed packets: `change`, called with number and packet, returns a packet, or None
    to leave it out."""
    import av

    with av.open(str(source)) as video, av.open(str(target), "w", options=options) as out:
        stream = video.streams.video[0]
        copy = out.add_stream_from_template(stream)
        for number, packet in enumerate(one for one in video.demux(stream) if one.size):
            changed = change(number, packet)
            if changed is not None:
                changed.stream = copy
                out.mux(changed)
    return target


def decoded(path: Path) -> list[np.ndarray]:
    """Decodes all frames by PyAV in order, without seeking."""
    import av

    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def with_matrix(video: Path, out: Path, a: int, b: int, c: int, d: int) -> Path:
    """Copies an mp4 file with another display matrix, as a phone held upright writes it."""
    data = bytearray(video.read_bytes())
    place = data.index(b"tkhd") + 4
    place += 40 if data[place] == 0 else 52  # version 1 has wider times
    entries = (a << 16, b << 16, 0, c << 16, d << 16, 0)
    data[place : place + 24] = struct.pack(">6i", *entries)
    out.write_bytes(data)
    return out


def with_beginning_at(video: Path, out: Path, frames: int) -> Path:
    """Copies an mp4 file with an edit list that drops its first frames, as after cutting without encoding."""
    data = bytearray(video.read_bytes())
    place = data.index(b"elst") + 12  # after version, flags and the number of entries
    duration, begin = struct.unpack(">Ii", data[place : place + 8])
    timescale = struct.unpack(">I", data[(at := data.index(b"mdhd") + 16) : at + 4])[0]
    data[place : place + 8] = struct.pack(">Ii", duration - 40 * frames, begin + frames * timescale // 25)
    out.write_bytes(data)
    return out


def with_hidden_frames(video: Path, out: Path, frames: set[int]) -> Path:
    """Copies a VP8 file with these frames decoded but not shown (RFC 6386, 9.1)."""
    import av

    with av.open(str(video)) as source, av.open(str(out), "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        for number, packet in enumerate(one for one in source.demux(stream) if one.size):
            data = bytearray(bytes(packet))
            if number in frames:
                data[0] &= ~(1 << 4)
            changed = av.Packet(bytes(data))
            changed.pts, changed.dts, changed.time_base = packet.pts, packet.dts, packet.time_base
            changed.is_keyframe = packet.is_keyframe
            changed.stream = copy
            target.mux(changed)
    return out


def draw_long_number(number: int) -> np.ndarray:
    """Draws a white block for each of 16 bits that is set, uint8 [48, 64, 3]."""
    frame = np.zeros((*FRAME, 3), np.uint8)
    for bit in range(16):
        top, left = bit // 4 * 12, bit % 4 * 16
        frame[top : top + 12, left : left + 16] = 255 * (number >> bit & 1)
    return frame


def read_long_number(frame: np.ndarray) -> int:
    """Returns the number that `draw_long_number` drew."""
    blocks = frame.reshape(4, 12, 4, 16, 3)[:, 3:9, :, 4:12].mean(axis=(1, 3, 4)).ravel()
    return int((blocks > 127) @ (1 << np.arange(16)))
