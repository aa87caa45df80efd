"""The checksum header of a cache file: a checksum for every byte that is no feature, in the HDF5 user block.

HDF5 does not check all of what it reads, and may even hang on a flipped bit; so the header is compared first.
The block is ASCII: a line `slt-cache seal 1 SIZE CRC`, where SIZE is that of the block in bytes and CRC the CRC-32 of
what follows the line; then a line `NAME OFFSET LENGTH CRC` for each column and spec; last `rest 0 0 CRC` for the
bytes behind the block that lie in no named region. Features have `-` for CRC: each of their rows has its own."""

import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from slt_cache.errors import InputError

SIZE = 4096
"""Bytes of the block; doubled where many splits need more."""
TITLE = "slt-cache seal 1"
HEAD = len(f"{TITLE} 00004096 00000000\n")
REST = "rest"
PIECE = 1 << 20
"""Bytes that are read at once."""
FEATURES = "features"
"""Last part of the name of regions whose rows have checksums of their own."""
AGAIN = "Put back a copy of the file, or extract it again into another one."
"""What to do about a damaged cache."""
MAX_REST = 64 << 20
"""Bytes outside of all columns; a split takes some thousand."""


@dataclass(frozen=True)
class Region:
    """Some bytes of the file."""

    offset: int
    length: int
    crc: int | None
    """CRC-32; None for features."""


ChecksumHeader = Mapping[str, Region]


def block_size(splits: int) -> int:
    """Bytes to leave for the header of a file with this many splits."""
    size = SIZE
    while size < 1024 * (splits + 1):
        size *= 2
    return size


def write_checksum_header(path: Path, places: Mapping[str, tuple[int, int]], size: int) -> None:
    """Takes the checksum of each place, (offset, length) by name, and of the rest; fills the block."""
    with path.open("r+b") as file:
        regions = {
            name: Region(*place, None if _has_own(name) else _crc(file, [place])) for name, place in places.items()
        }
        regions[REST] = Region(0, 0, _crc(file, gaps(places.values(), size, _size(file))))
        body = (
            "".join(_line(name, region) for name, region in regions.items()).encode("ascii").ljust(size - HEAD, b"\0")
        )
        assert len(body) == size - HEAD, "block_size leaves too little room"
        file.seek(0)
        file.write(_head(size, body) + body)


def read_checksum_header(path: Path) -> ChecksumHeader:
    """Raises InputError if the file has no checksum header, or if the header or the bytes of no region are damaged.
    Named regions are compared when they are read."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}). Ask its owner, or name another file.") from error
    with file:
        head = file.read(HEAD)
        fields = head.decode("ascii", "replace").split()
        size = int(fields[3]) if fields[3:] and fields[3].isdecimal() else 0
        if " ".join(fields[:3]) != TITLE or not SIZE <= size <= _size(file):
            raise InputError(
                f"{path}: no slt-cache feature cache, or one whose first bytes are damaged. Name another file."
            )
        body = read_bytes(file, HEAD, size - HEAD)
        if _head(size, body) != head:
            raise InputError(f"{path}: damaged in its first {size} bytes, the checksum header. {AGAIN}")
        try:
            regions = _regions(body, size)
        except ValueError as error:
            raise InputError(f"{path}: no slt-cache wrote its checksum header ({error}). Name another file.") from error
        end, places = _size(file), [(region.offset, region.length) for region in regions.values()]
        cut_off = any(offset + length > end for offset, length in places)
        rest = [] if cut_off else list(gaps(places, size, end))
        if cut_off or sum(length for _, length in rest) > MAX_REST or _crc(file, rest) != regions[REST].crc:
            raise InputError(f"{path}: damaged or cut off, in the HDF5 structure. {AGAIN}")
    return regions


def _regions(body: bytes, size: int) -> dict[str, Region]:
    """The lines of the block. Raises ValueError where they are none, or where regions overlap or leave no checksum."""
    lines = body.rstrip(b"\0").decode("ascii").splitlines()
    regions = dict(map(_region, lines))
    if REST not in regions or len(regions) != len(lines):
        raise ValueError("a line is missing or stands there twice")
    first = size
    for name, region in sorted(regions.items(), key=lambda item: item[1].offset):
        if (region.crc is None) != _has_own(name):
            raise ValueError(f"{name} has no checksum" if region.crc is None else f"{name} has one for all rows")
        if name == REST:
            continue
        if region.offset < first or region.length < 1:
            raise ValueError(f"{name} overlaps with another region")
        first = region.offset + region.length
    return regions


def damaged(path: Path, header: ChecksumHeader, names: Iterable[str]) -> Iterator[str]:
    """Those of the named regions whose bytes do not have their checksum."""
    with path.open("rb") as file:
        for name in names:
            region = header[name]
            if name != REST and region.crc is not None and _crc(file, [(region.offset, region.length)]) != region.crc:
                yield name


def _head(size: int, body: bytes) -> bytes:
    return f"{TITLE} {size:08d} {zlib.crc32(body):08x}\n".encode("ascii")


def _has_own(name: str) -> bool:
    return name.rpartition("/")[2] == FEATURES


def _line(name: str, region: Region) -> str:
    return f"{name} {region.offset} {region.length} {'-' if region.crc is None else f'{region.crc:08x}'}\n"


def _region(line: str) -> tuple[str, Region]:
    name, *numbers = line.rsplit(" ", 3)
    if len(numbers) != 3:
        raise ValueError("a line does not name a region")
    offset, length, crc = numbers
    return name, Region(int(offset), int(length), None if crc == "-" else int(crc, 16))


def gaps(places: Iterable[tuple[int, int]], first: int, end: int) -> Iterator[tuple[int, int]]:
    """(offset, length) of the bytes from `first` to `end` that lie in none of the places, (offset, length) each."""
    for offset, length in sorted(places):
        if offset > first:
            yield first, offset - first
        first = max(first, offset + length)
    if end != first:
        yield first, end - first


def read_bytes(file: BinaryIO, offset: int, length: int) -> bytes:
    """Reads, and maps nothing: a map of a file that another process cuts off, or of a hole where a tmpfs is full, ends
    the process with SIGBUS. Fewer bytes at the end of the file; a place before its beginning is none."""
    file.seek(max(0, offset))
    return file.read(length)


def _crc(file: BinaryIO, places: Iterable[tuple[int, int]]) -> int:
    crc = 0
    for offset, length in places:
        for first in range(offset, offset + length, PIECE):
            crc = zlib.crc32(read_bytes(file, first, min(PIECE, offset + length - first)), crc)
    return crc


def _size(file: BinaryIO) -> int:
    return file.seek(0, os.SEEK_END)
