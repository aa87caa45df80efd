"""The checksum header of a cache file: checksums for all bytes but the features, in the HDF5 user block.

HDF5 does not check all that it reads, and may even hang on a flipped bit, so the header is compared first. The block is
ASCII: a line `slt-cache seal 1 SIZE CRC` with the size of the block in bytes and the CRC-32 of what follows the line;
then a line `NAME OFFSET LENGTH CRC` for each column and spec; last `rest 0 0 CRC` for the bytes after the block that
lie in no named region. Features have `-` for CRC: each of their rows has its own."""

import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from slt_cache.errors import InputError

SIZE = 4096
"""Bytes of the block; doubled if many splits need more."""
TITLE = "slt-cache seal 1"
HEAD = len(f"{TITLE} 00004096 00000000\n")
REST = "rest"
CHUNK = 1 << 20
"""Bytes read at once."""
FEATURES = "features"
"""Last part of the names of regions whose rows have their own checksums."""
AGAIN = "Restore the file from a copy, or extract it again into another file."
"""Advice for a damaged cache."""
MAX_REST = 64 << 20
"""Largest number of bytes outside of all columns; a split takes a few thousand."""


@dataclass(frozen=True)
class Region:
    """A range of bytes in the file."""

    offset: int
    length: int
    crc: int | None
    """CRC-32; None for features."""


ChecksumHeader = Mapping[str, Region]


def block_size(splits: int) -> int:
    """Returns the bytes to reserve for the header of a file with this many splits."""
    size = SIZE
    while size < 1024 * (splits + 1):
        size *= 2
    return size


def write_checksum_header(path: Path, ranges: Mapping[str, tuple[int, int]], size: int) -> None:
    """Computes the checksum of each range, (offset, length) by name, and of the rest, and writes the block."""
    with path.open("r+b") as file:
        regions = {
            name: Region(*extent, None if _has_own(name) else _crc(file, [extent])) for name, extent in ranges.items()
        }
        regions[REST] = Region(0, 0, _crc(file, gaps(ranges.values(), size, _size(file))))
        body = (
            "".join(_line(name, region) for name, region in regions.items()).encode("ascii").ljust(size - HEAD, b"\0")
        )
        assert len(body) == size - HEAD, "block_size leaves too little room"
        file.seek(0)
        file.write(_head(size, body) + body)


def read_block(path: Path) -> bytes:
    """Returns the bytes of the block. Raises InputError if there is none, or if it is damaged."""
    with _opened(path) as file:
        return _read_block(path, file)


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}). Ask its owner, or name another file.") from error


def _read_block(path: Path, file: BinaryIO) -> bytes:
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
    return head + body


def read_checksum_header(path: Path) -> ChecksumHeader:
    """Reads the header. Raises InputError if there is none, or if it or the bytes outside of all regions are damaged;
    named regions are compared when they are read."""
    with _opened(path) as file:
        block = _read_block(path, file)
        size, body = len(block), block[HEAD:]
        try:
            regions = _regions(body, size)
        except ValueError as error:
            raise InputError(f"{path}: no slt-cache wrote its checksum header ({error}). Name another file.") from error
        end, ranges = _size(file), [(region.offset, region.length) for region in regions.values()]
        cut_off = any(offset + length > end for offset, length in ranges)
        rest = [] if cut_off else list(gaps(ranges, size, end))
        if cut_off or sum(length for _, length in rest) > MAX_REST or _crc(file, rest) != regions[REST].crc:
            raise InputError(f"{path}: damaged or cut off, in the HDF5 structure. {AGAIN}")
    return regions


def _regions(body: bytes, size: int) -> dict[str, Region]:
    """Parses the lines of the block. Raises ValueError if that fails, if regions overlap, or if a checksum is
    missing."""
    lines = body.rstrip(b"\0").decode("ascii").splitlines()
    regions = dict(map(_region, lines))
    if REST not in regions or len(regions) != len(lines):
        raise ValueError("a line is missing or repeated")
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
    """Yields those of the named regions whose bytes do not match their checksum."""
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


def gaps(ranges: Iterable[tuple[int, int]], first: int, end: int) -> Iterator[tuple[int, int]]:
    """Yields the ranges of bytes from `first` to `end` outside of the given ones, (offset, length) each."""
    for offset, length in sorted(ranges):
        if offset > first:
            yield first, offset - first
        first = max(first, offset + length)
    if end != first:
        yield first, end - first


def read_bytes(file: BinaryIO, offset: int, length: int) -> bytes:
    """Reads bytes, fewer at the end of the file, without a memory map: a map of a file that another process truncates,
    or of a hole on a full tmpfs, ends the process with SIGBUS. A negative offset counts as 0."""
    file.seek(max(0, offset))
    return file.read(length)


def _crc(file: BinaryIO, ranges: Iterable[tuple[int, int]]) -> int:
    crc = 0
    for offset, length in ranges:
        for first in range(offset, offset + length, CHUNK):
            crc = zlib.crc32(read_bytes(file, first, min(CHUNK, offset + length - first)), crc)
    return crc


def _size(file: BinaryIO) -> int:
    return file.seek(0, os.SEEK_END)
