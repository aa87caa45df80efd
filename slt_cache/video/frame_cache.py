"""Caches decoded frames on disk for trainings that read the same videos every epoch: clips in, uint8 `[T', 3, R, R]`
out, identical to decoding. One file per clip, written when the clip is first read.

A file is a line of JSON followed by the frames `[n, R, R, 3]`. The line has everything that determines the pixels, and
the CRC-32 of every frame; a file that is broken or does not match is written again. Any number of processes may read
and write: files are renamed when complete, and the last writer wins with the same bytes."""

import hashlib
import json
import os
import sys
import zlib
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from slt_cache.config import VideoConfig
from slt_cache.corpora.base import Clip
from slt_cache.corpora.manifest import boxed
from slt_cache.files import remove_abandoned, temporary_path
from slt_cache.video.decoders import DECODERS
from slt_cache.video.frames import kept_indices, open_frames, read_kept_frames
from slt_cache.video.stream import UnreadableVideo, only_unreadable
from slt_cache.video.transforms import square
from slt_cache.write_errors import free_space

FORMAT = "slt-cache frames 2"
SUFFIX = ".frames"
PACKAGES = ("decord", "av", "pillow", "torch", "torchvision")
"""Packages that determine pixels."""
LONGEST_LINE = 4_000_000
"""Bytes that are read at most in search of the end of the line."""


class Damaged(Exception):
    """Raised for a file of the cache that cannot be used; the message says why."""


class FrameCache:
    """Frames of clips as `square` returns them, before any crop or augmentation."""

    def __init__(self, folder: Path, video: VideoConfig, every: int):
        """Caches one frame in `every`: 1 if any frame may be needed, `video.keep_every` if the kept frames always begin
        with frame 0. The folder is created when the first clip is written."""
        assert every in (1, video.keep_every)
        self.folder = folder
        self.video = video
        self.every = every
        self.settings: dict[str, Any] = {
            "format": FORMAT,
            "every": every,
            **{name: getattr(video, name) for name in ("fps", "resize", "fit", "blank")},
            "decoders": {name: _version(name) for name in (*PACKAGES, *DECODERS[video.decoder].packages)},
        }
        self.writes = True
        self._printed: set[str] = set()

    def path(self, clip: Clip) -> Path:
        """Returns the file of a clip, named by a hash: ids may contain characters that file names may not."""
        return self.folder / (hashlib.sha256(clip.id.encode()).hexdigest()[:32] + SUFFIX)

    def read(self, clip: Clip, offset: int) -> torch.Tensor:
        """Returns one frame in `video.keep_every`, the first at `offset`, uint8 [T', 3, R, R]. Decodes and caches what
        is missing. Raises UnreadableVideo."""
        assert offset == 0 or self.every == 1
        try:
            return self._from_disk(clip, offset)
        except FileNotFoundError:
            pass
        except (Damaged, OSError) as error:
            self._print_once(f"clip {clip.id!r}: its frames in {self.folder} {error}; they are decoded again")
        return self._decoded(clip, offset)

    def missing(self, clips: Sequence[Clip]) -> list[Clip]:
        """Returns the clips without a file; contents are checked when they are read."""
        return [clip for clip in clips if not self.path(clip).is_file()]

    def clean(self) -> None:
        """Deletes temporary files of killed processes."""
        if self.folder.is_dir():
            remove_abandoned(self.folder)

    def _from_disk(self, clip: Clip, offset: int) -> torch.Tensor:
        side = self.video.resize
        size = 3 * side * side
        with self.path(clip).open("rb") as file:
            line = file.readline(LONGEST_LINE)
            header = _header(line)
            self._require_same(clip, header)
            checksums: list[int] = header["checksums"]
            if len(checksums) != len(kept_indices(header["num_frames"], self.every)):
                raise Damaged("are broken")
            if os.fstat(file.fileno()).st_size != len(line) + len(checksums) * size:
                raise Damaged("are cut off")
            indices = kept_indices(header["num_frames"], self.video.keep_every, offset)
            frames = np.empty((len(indices), side, side, 3), np.uint8)
            for frame, index in zip(frames, indices, strict=True):
                place = index // self.every
                file.seek(len(line) + place * size)
                if file.readinto(memoryview(frame).cast("B")) != size or zlib.crc32(frame) != checksums[place]:
                    raise Damaged("do not match their checksums")
        return torch.from_numpy(frames).permute(0, 3, 1, 2)

    def _require_same(self, clip: Clip, header: dict[str, Any]) -> None:
        for name, requested in {**self.settings, **_source(clip)}.items():
            if header.get(name) != requested:
                raise Damaged(f"have another {name} ({header.get(name)}, now {requested})")

    def _decoded(self, clip: Clip, offset: int) -> torch.Tensor:
        if self.writes:
            try:
                self._write(clip)
                return self._from_disk(clip, offset)
            except UnreadableVideo:
                pass  # the unreadable frame may be one that is not kept
            except (Damaged, OSError) as error:
                self.writes = False
                reason = error.strerror if isinstance(error, OSError) and error.strerror else error
                self._print_once(
                    f"{self.folder}: cannot be written ({reason}; {free_space(self.path(clip))} are free). Frames that "
                    "already exist are used; the others are decoded in every epoch."
                )
        kept = read_kept_frames(clip, self.video.keep_every, offset, self.video.fps, self.video.decoder)
        return square(kept.frames, self.video)

    def _write(self, clip: Clip) -> None:
        """Writes all frames that may be needed, under a temporary name until they are complete. Not synced: checksums
        reveal what a power cut leaves of a file."""
        source = _source(clip)  # before reading: a file that changes in the meantime is decoded again next time
        stream = open_frames(clip, self.every, 0, self.video.fps, self.video.decoder)
        chunks = [square(chunk, self.video).permute(0, 2, 3, 1).contiguous().numpy() for chunk in stream.chunks]
        checksums = [zlib.crc32(frame) for chunk in chunks for frame in chunk]
        metadata = {**self.settings, **source, "num_frames": stream.num_frames, "checksums": checksums}
        if metadata["box"] is None:  # files without boxes are older than these
            del metadata["box"]
        path = self.path(clip)
        temporary = temporary_path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.write(json.dumps(metadata).encode() + b"\n")
                for chunk in chunks:
                    file.write(memoryview(chunk).cast("B"))
            temporary.replace(path)
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()

    def _print_once(self, line: str) -> None:
        """Prints each kind of problem once per process: a changed setting makes all clips stale."""
        kind = line.rpartition(self.folder.name)[2].partition("; ")[0]  # without varying numbers
        if kind not in self._printed:
            self._printed.add(kind)
            tqdm.write(line, file=sys.stderr)


def _header(line: bytes) -> dict[str, Any]:
    try:
        header = json.loads(line)
        if isinstance(header, dict) and isinstance(header["checksums"], list) and isinstance(header["num_frames"], int):
            return header
    except (ValueError, KeyError):
        pass
    raise Damaged("are broken")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # decord is not always installed
        return None


def _source(clip: Clip) -> dict[str, Any]:
    """Returns what identifies a clip's source: name, size and modification time of the video, or of a folder's files,
    the segment and the box. Raises UnreadableVideo if it does not exist."""
    with only_unreadable(clip):
        files = sorted(clip.video.iterdir()) if clip.video.is_dir() else [clip.video]
        states = [file.stat() for file in files]
    return {
        "clip": clip.id,
        "video": clip.video.name,
        "bytes": sum(state.st_size for state in states),
        "files": len(files),
        "changed": max((state.st_mtime_ns for state in states), default=0),
        "start": clip.start,
        "end": clip.end,
        "box": boxed(clip.box) or None,
    }
