"""Decoded frames on disk, for trainings that see the same videos every epoch: clips in, uint8 `[T', 3, R, R]` out, bit
by bit what decoding gives. One file a clip, written when the clip is first read.

A file is a line of JSON and the frames `[n, R, R, 3]` behind it. The line holds all that decides the pixels and the
CRC-32 of every frame; a file that says something else than is asked for, or that is broken, is written anew. Any number
of processes may read and write: files are renamed when whole, and who comes last wins with the same bytes."""

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
from slt_cache.files import remove_abandoned, temporary_path
from slt_cache.video.frames import kept_indices, open_frames, read_kept_frames
from slt_cache.video.stream import UnreadableVideo, only_unreadable
from slt_cache.video.transforms import square
from slt_cache.write_errors import free_space

FORMAT = "slt-cache frames 2"
SUFFIX = ".frames"
LONGEST_LINE = 4_000_000
"""Bytes; of a broken file no more is read in search of the end of its line."""


class Damaged(Exception):
    """A file of the cache that cannot be used; the message says why."""


class FrameCache:
    """Frames of clips as `square` makes them, before any crop or augmentation."""

    def __init__(self, folder: Path, video: VideoConfig, every: int):
        """`every`: one frame in so many is held; 1 where each may be asked for, `video.keep_every` where the kept
        frames always begin with frame 0. The folder is made when the first clip is written."""
        assert every in (1, video.keep_every)
        self.folder = folder
        self.video = video
        self.every = every
        self.settings: dict[str, Any] = {
            "format": FORMAT,
            "every": every,
            **{name: getattr(video, name) for name in ("fps", "resize", "fit", "blank")},
            "decoders": {name: _version(name) for name in ("decord", "av", "pillow", "torch", "torchvision")},
        }
        self.writes = True
        self._told: set[str] = set()

    def path(self, clip: Clip) -> Path:
        """Where the frames of a clip are; ids may hold what file names may not."""
        return self.folder / (hashlib.sha256(clip.id.encode()).hexdigest()[:32] + SUFFIX)

    def read(self, clip: Clip, phase: int) -> torch.Tensor:
        """uint8 [T', 3, R, R]: one frame in `video.keep_every`, the first at `phase`. Decodes what the cache has not,
        and keeps it. Raises UnreadableVideo."""
        assert phase == 0 or self.every == 1
        try:
            return self._from_disk(clip, phase)
        except FileNotFoundError:
            pass
        except (Damaged, OSError) as error:
            self._tell(f"clip {clip.id!r}: its frames in {self.folder} {error}; they are decoded anew")
        return self._decoded(clip, phase)

    def missing(self, clips: Sequence[Clip]) -> list[Clip]:
        """Those without a file; what the files hold is looked at when they are read."""
        return [clip for clip in clips if not self.path(clip).is_file()]

    def clean(self) -> None:
        """Deletes what killed processes left."""
        if self.folder.is_dir():
            remove_abandoned(self.folder)

    def _from_disk(self, clip: Clip, phase: int) -> torch.Tensor:
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
            wanted = kept_indices(header["num_frames"], self.video.keep_every, phase)
            frames = np.empty((len(wanted), side, side, 3), np.uint8)
            for frame, index in zip(frames, wanted, strict=True):
                place = index // self.every
                file.seek(len(line) + place * size)
                if file.readinto(memoryview(frame).cast("B")) != size or zlib.crc32(frame) != checksums[place]:
                    raise Damaged("have another checksum than when they were written")
        return torch.from_numpy(frames).permute(0, 3, 1, 2)

    def _require_same(self, clip: Clip, header: dict[str, Any]) -> None:
        for name, asked in {**self.settings, **_source(clip)}.items():
            if header.get(name) != asked:
                raise Damaged(f"are of another {name} ({header.get(name)}, now {asked})")

    def _decoded(self, clip: Clip, phase: int) -> torch.Tensor:
        if self.writes:
            try:
                self._write(clip)
                return self._from_disk(clip, phase)
            except UnreadableVideo:
                pass  # a frame that is not kept may be the one that cannot be read
            except (Damaged, OSError) as error:
                self.writes = False
                reason = error.strerror if isinstance(error, OSError) and error.strerror else error
                self._tell(
                    f"{self.folder}: cannot be written ({reason}; {free_space(self.path(clip))} are free). Frames that "
                    "are there already are kept and read; the others are decoded in every epoch."
                )
        kept = read_kept_frames(clip, self.video.keep_every, phase, self.video.fps)
        return square(kept.frames, self.video)

    def _write(self, clip: Clip) -> None:
        """All frames that may be asked for, under a name of this process' own until they are whole. Not synced: what
        a power cut leaves of a file is noticed by its checksums."""
        source = _source(clip)  # before it is read: a file that changes meanwhile is another one the next time
        stream = open_frames(clip, self.every, 0, self.video.fps)
        pieces = [square(piece, self.video).permute(0, 2, 3, 1).contiguous().numpy() for piece in stream.pieces]
        checksums = [zlib.crc32(frame) for piece in pieces for frame in piece]
        facts = {**self.settings, **source, "num_frames": stream.num_frames, "checksums": checksums}
        path = self.path(clip)
        temporary = temporary_path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.write(json.dumps(facts).encode() + b"\n")
                for piece in pieces:
                    file.write(memoryview(piece).cast("B"))
            temporary.replace(path)
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()

    def _tell(self, line: str) -> None:
        """Once for each kind of trouble and process: a changed setting makes all clips stale."""
        kind = line.rpartition(self.folder.name)[2].partition("; ")[0]  # without a number that changes
        if kind not in self._told:
            self._told.add(kind)
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
    except PackageNotFoundError:  # decord, which not every machine has
        return None


def _source(clip: Clip) -> dict[str, Any]:
    """What tells that a clip's video is the same: its name, bytes and time of change, of a folder those of its files;
    and the cut. Raises UnreadableVideo where it is not there."""
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
    }
