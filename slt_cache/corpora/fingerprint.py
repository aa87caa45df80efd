"""A cheap fingerprint of a clip's video: a short text that is the same wherever the video is and whatever its file is
called, and that changes with its content. Decodes nothing."""

import hashlib
import zlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from slt_cache.corpora.base import Clip
from slt_cache.corpora.manifest import boxed
from slt_cache.corpora.media import frame_files

ENDS = 65_536
"""Bytes at either end of a file that enter its checksum; its size enters too."""
READ_AT_ONCE = 4096
"""Videos that wait for a thread; each of them takes memory."""
THREADS = 8
"""Threads; on a shared disk most of the time is spent waiting."""


def fingerprint(video: Path) -> str | None:
    """Returns `SIZE-CRC-CRC` of a file: its bytes, and CRC-32 of its first and last 64 KiB; or `FRAMES-BYTES-CRC` of a
    folder of frames: CRC-32 of their sizes, in the order of their names. None if the video does not exist or cannot be
    read."""
    try:
        return _of_folder(video) if video.is_dir() else _of_file(video)
    except (OSError, ValueError):
        return None


def sources(clips: Iterable[Clip]) -> list[str]:
    """Returns the source of each clip's features, `FINGERPRINT START END [BOX]`, with `-` for a time that is not given;
    empty if the video does not exist. A video that several clips share is read once."""
    clips = list(clips)
    videos = list(dict.fromkeys(clip.video for clip in clips))
    prints: dict[Path, str | None] = {}
    with ThreadPoolExecutor(THREADS) as pool:
        for first in range(0, len(videos), READ_AT_ONCE):
            some = videos[first : first + READ_AT_ONCE]
            prints.update(zip(some, pool.map(fingerprint, some), strict=True))
    return [_source(clip, prints[clip.video]) for clip in clips]


def manifest_sha256(clips: Sequence[Clip]) -> str:
    """Returns a hash of id, split, times and sentence of the clips, in order, and of the languages of sentences that
    have one. It depends neither on the place nor on the content of the videos; for the latter see `videos_sha256`."""
    digest = hashlib.sha256()
    for clip in clips:
        language = clip.language and f"\t{clip.language}"
        digest.update(f"{clip.id}\t{clip.split}\t{times_of(clip)}\t{clip.text}{language}\n".encode())
    return digest.hexdigest()


def videos_sha256(clips: Sequence[Clip]) -> str | None:
    """Returns a hash of the content of the clips' videos, wherever they are; None if one of them is missing. Looks at
    every file, and at every frame of a folder; decodes none."""
    found = sources(clips)
    return hashlib.sha256("\n".join(found).encode()).hexdigest() if all(found) else None


def times_of(clip: Clip) -> str:
    """Returns the end of a clip's source, the part of the video that it is: `START END`, followed by the box of the
    frames if there is one."""
    times = ("-" if time is None else repr(float(time)) for time in (clip.start, clip.end))
    return " ".join([*times, *([] if clip.box is None else [boxed(clip.box)])])


def has_changed(video: Path, source: str) -> bool:
    """Returns whether an existing video differs from this source in the size of the file or the number of frames."""
    try:
        found = len(frame_files(video)) if video.is_dir() else video.stat().st_size
    except (OSError, ValueError):
        return False
    return str(found) != source.partition("-")[0]


def _source(clip: Clip, found: str | None) -> str:
    return "" if found is None else f"{found} {times_of(clip)}"


def _of_file(video: Path) -> str:
    with video.open("rb") as file:
        first = file.read(ENDS)
        size = video.stat().st_size
        file.seek(max(0, size - ENDS))
        last = file.read(ENDS)
    return f"{size}-{zlib.crc32(first):08x}-{zlib.crc32(last):08x}"


def _of_folder(video: Path) -> str:
    sizes = [frame.stat().st_size for frame in frame_files(video)]
    return f"{len(sizes)}-{sum(sizes)}-{zlib.crc32(repr(sizes).encode()):08x}"
