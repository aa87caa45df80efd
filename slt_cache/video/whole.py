"""Checks whether a video file is complete, by the sizes and lengths that it states itself. FFmpeg silently reads a
half-downloaded one as a shorter video. Reads a few bytes of the file; decodes nothing."""

import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

LARGE = 1
"""Value of a box's size if the actual size follows its name in eight bytes."""
MP4 = (b"ftyp", b"moov", b"mdat", b"moof", b"styp", b"sidx", b"wide", b"free", b"skip", b"pnot")
"""First boxes of files of the mp4 family."""
MATROSKA, ASF = bytes.fromhex("1a45dfa3"), bytes.fromhex("3026b275")
PACK, PROGRAM_END = bytes.fromhex("000001ba"), bytes.fromhex("000001b9")
FRAMES = (b"mdat", b"moof", b"moov")
"""Boxes of the mp4 family without which frames are missing."""
SEGMENT, CLUSTER, SEGMENT_INFO = 0x18538067, 0x1F43B675, 0x1549A966
ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
LONGEST_INDEX = 28 + 4 + 12 * 65_535
"""Largest size of a sidx box in bytes."""
HEADER_BYTES = 65_536
"""Bytes at the beginning of an ASF or FLV file that contain its size or length."""


@dataclass(frozen=True)
class Stated:
    """Completeness of a file, according to itself."""

    incomplete: bool = False
    """It states more bytes than it has; perhaps only an index at its end is missing."""
    cut: bool = False
    """It states more bytes of frames than it has."""
    torn: bool = False
    """It ends in the middle of a packet, but states neither its size nor its length: it may be an interrupted
    recording, or the beginning of a longer one."""
    seconds: float | None = None
    """Length that its frames must reach, or else they are cut off; None if it states none, like a live recording, or if
    all bytes exist."""


TORN = Stated(torn=True)
CUT = Stated(incomplete=True, cut=True)
WHOLE = Stated()


def stated(path: Path) -> Stated:
    """Reads what a file of the families of mp4, Matroska, AVI, FLV, ASF, Ogg, MPEG-PS and MPEG-TS states; any other
    counts as complete. Raises OSError."""
    size = path.stat().st_size
    with path.open("rb") as file, suppress(struct.error, IndexError):  # malformed data state nothing
        head = file.read(12)
        if head[4:8] in MP4:
            return _mp4(file, size)
        if head[:4] == MATROSKA:
            return _matroska(file, size)
        if head[:4] == b"RIFF" and head[8:] == b"AVI ":
            return _avi(file, size)
        file.seek(0)
        if head[:3] == b"FLV":
            return _flv(file, size)
        if head[:4] == ASF:
            return _asf(file, size)
        if head[:4] == b"OggS":
            return _ogg(file, size)
        if head[:4] == PACK:
            return _program_stream(file, size)
        return _transport_stream(file, size)
    return WHOLE


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yields name, begin of content and end of each box; the last one may end past `end`."""
    place = start
    while place + 8 <= end:
        file.seek(place)
        head = file.read(16)
        size, name, begin = int.from_bytes(head[:4], "big"), head[4:8], place + 8
        if size == LARGE:
            size, begin = int.from_bytes(head[8:16], "big"), place + 16
        if size == 0:  # it extends to the end of the file
            size = end - place
        if size < begin - place:
            return
        yield name, begin, place + size
        place += size
    if place < end:
        yield b"", place, place + 8  # the rest of a head


def _mp4(file: BinaryIO, size: int) -> Stated:
    fragmented, seconds, last = False, 0.0, b""
    for name, begin, end in _boxes(file, 0, size):
        if name in FRAMES and end > size:
            return CUT
        if name == b"moov":
            fragmented, seconds = _lengths(file, begin, end)
        if name == b"sidx" and end <= size:
            file.seek(begin)
            if end + _referenced(file.read(min(end - begin, LONGEST_INDEX))) > size:
                return CUT
        if name == b"" and fragmented and last == b"mdat":
            return CUT
        last = name
    return Stated(seconds=seconds or None) if fragmented else WHOLE


def _lengths(file: BinaryIO, start: int, end: int) -> tuple[bool, float]:
    """Returns whether the file is fragmented, and the seconds that its head states; 0 if none."""
    fragmented, scale, length = False, 0, 0
    for name, begin, content_end in list(_boxes(file, start, end)):
        file.seek(begin)
        if name == b"mvhd":
            content = file.read(32)
            scale, length = struct.unpack(
                ">IQ" if content[0] else ">II", content[20:32] if content[0] else content[12:20]
            )
        if name == b"mvex":
            fragmented = True
            for inner, place, _ in list(_boxes(file, begin, content_end)):
                if inner == b"mehd":
                    file.seek(place)
                    content = file.read(12)
                    length = int.from_bytes(content[4:12] if content[0] else content[4:8], "big")
    known = scale > 0 and length not in (0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF)
    return fragmented, length / scale if known else 0.0


def _referenced(index: bytes) -> int:
    """Returns the number of bytes after a sidx box that it indexes (ISO 14496-12, 8.16.3)."""
    wide = index[0] > 0
    first = int.from_bytes(index[20:28] if wide else index[16:20], "big")
    place = 28 if wide else 20
    count = int.from_bytes(index[place + 2 : place + 4], "big")
    entries: tuple[int, ...] = struct.unpack_from(f">{3 * count}I", index, place + 4)
    return first + sum(size & 0x7FFFFFFF for size in entries[::3])


def _elements(file: BinaryIO, start: int, end: int) -> Iterator[tuple[int, int, int | None]]:
    """Yields identifier, begin of content and its end (None if unknown) of each element of EBML (RFC 8794)."""
    place = start
    while place < end:
        file.seek(place)
        head = file.read(12)
        width = 9 - head[0].bit_length() if head[0] else 9
        rest = head[width:]
        if width > 4 or not rest or not rest[0]:
            return
        length = 9 - rest[0].bit_length()
        if len(rest) < length:
            return
        size = int.from_bytes(rest[:length], "big") & ((1 << 7 * length) - 1)
        begin = place + width + length
        unknown = size == (1 << 7 * length) - 1
        yield int.from_bytes(head[:width], "big"), begin, None if unknown else begin + size
        if unknown:
            return
        place = begin + size


def _matroska(file: BinaryIO, size: int) -> Stated:
    segments = [one for one in _elements(file, 0, size) if one[0] == SEGMENT]
    if not segments:
        return WHOLE
    _, begin, end = segments[0]
    if end is not None and end <= size:
        return WHOLE
    seconds, torn = 0.0, False
    for name, place, content_end in _elements(file, begin, size):
        if name == SEGMENT_INFO and content_end is not None:
            seconds = _matroska_seconds(file, place, content_end)
        if end is not None and name == CLUSTER and (content_end is None or content_end > size):
            return CUT
        torn = content_end is not None and content_end > size
    return Stated(incomplete=end is not None, torn=torn and end is None, seconds=seconds or None)


def _matroska_seconds(file: BinaryIO, start: int, end: int) -> float:
    scale, length = 1_000_000, 0.0
    for name, begin, content_end in list(_elements(file, start, end)):
        file.seek(begin)
        if name == 0x2AD7B1 and content_end is not None:
            scale = int.from_bytes(file.read(min(content_end - begin, 8)), "big")
        if name == 0x4489 and content_end is not None:
            content = file.read(min(content_end - begin, 9))
            length = struct.unpack(">f" if len(content) == 4 else ">d", content)[0] if len(content) in (4, 8) else 0.0
    return length * scale / 1e9


def _avi(file: BinaryIO, size: int) -> Stated:
    """Looks for a list of frames (movi) that ends past the file; sizes that a recorder never wrote are 0. FFmpeg finds
    frames by the index after them, so without it they may be missing, too."""
    place, seconds = 0, 0.0
    while place + 12 <= size:
        file.seek(place)
        form, length = struct.unpack("<4sI", file.read(8))
        if form != b"RIFF" or length == 0:
            return WHOLE
        inner, end = place + 12, place + 8 + length
        while inner + 12 <= min(end, size):
            file.seek(inner)
            name, content, kind = struct.unpack("<4sI4s", file.read(12))
            if name == b"LIST" and kind == b"movi" and inner + 8 + content > size:
                return Stated(incomplete=True, cut=True, seconds=seconds)
            if name == b"LIST" and kind == b"hdrl":
                microseconds, frames = struct.unpack("<8xI12xI", file.read(28))
                seconds = microseconds * frames / 1e6
            inner += 8 + content + content % 2
        place = end + length % 2
    return Stated(incomplete=True, seconds=seconds) if place > size + 1 else WHOLE


def _flv(file: BinaryIO, size: int) -> Stated:
    """Reads size and length from the script data at the beginning, if present (Adobe's FLV specification, E.5)."""
    head = file.read(HEADER_BYTES)
    if 0 < _flv_number(head, b"filesize") <= size:
        return WHOLE
    seconds = _flv_number(head, b"duration")
    return Stated(seconds=seconds if 0 < seconds < 1e7 else None)


def _flv_number(head: bytes, name: bytes) -> float:
    """Returns a number of the script data; 0 if it is missing."""
    place = head.find(key := b"\0" + bytes([len(name)]) + name + b"\0")
    content = head[place + len(key) : place + len(key) + 8]
    return struct.unpack(">d", content)[0] if place >= 0 and len(content) == 8 else 0.0


def _asf(file: BinaryIO, size: int) -> Stated:
    head = file.read(HEADER_BYTES)
    place = head.find(ASF_PROPERTIES)
    if place < 0 or len(head) < place + 92:
        return WHOLE
    whole, flags = struct.unpack_from("<Q", head, place + 40)[0], struct.unpack_from("<I", head, place + 88)[0]
    return CUT if not flags & 1 and whole > size else WHOLE  # bit 0: a broadcast, whose size is unknown


def _ogg(file: BinaryIO, size: int) -> Stated:
    """Checks that the last page is marked as the last one (RFC 3533, 6)."""
    file.seek(max(0, size - 2 * HEADER_BYTES))  # no page is larger
    tail = file.read()
    place = tail.rfind(b"OggS\0")
    if not 0 <= place <= len(tail) - 27:
        return TORN
    count = tail[place + 26]
    length = 27 + count + sum(tail[place + 27 : place + 27 + count])
    return WHOLE if tail[place + 5] & 4 and place + length <= len(tail) else TORN


def _program_stream(file: BinaryIO, size: int) -> Stated:
    """Follows the sizes of packets from the last pack to the end (ISO 13818-1, 2.5.3)."""
    file.seek(max(0, size - 2 * HEADER_BYTES))  # packs have a few kilobytes
    tail = file.read()
    place = tail.rfind(PACK)
    while 0 <= place < len(tail):
        code, rest = tail[place : place + 4], len(tail) - place
        if code == PACK:
            wide = rest > 13 and tail[place + 4] >> 6 == 1  # MPEG-2
            place += 14 + (tail[place + 13] & 7) if wide else 12
        elif code == PROGRAM_END:
            return WHOLE
        elif rest >= 6 and code[:3] == PACK[:3]:
            place += 6 + int.from_bytes(tail[place + 4 : place + 6], "big")
        else:
            return TORN if rest < 6 else WHOLE
    return TORN if place > len(tail) else WHOLE


def _transport_stream(file: BinaryIO, size: int) -> Stated:
    """Checks for an integral number of packets of one size, each of which begins with a G."""
    file.seek(0)
    head = file.read(3 * 204)
    for length, first in ((188, 0), (192, 4), (204, 0)):
        if len(head) >= first + 2 * length and head[first : first + 2 * length + 1 : length] == b"GGG":
            return TORN if size % length else WHOLE
    return WHOLE
