"""A run's cache of decoded frames: opened after a look at the disk."""

import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from statistics import mean

from slt_cache.config import Config, VideoConfig
from slt_cache.corpora.base import Clip
from slt_cache.errors import InputError
from slt_cache.progress import log
from slt_cache.runs.run import Run
from slt_cache.video.frame_cache import FrameCache
from slt_cache.video.frames import open_frames
from slt_cache.video.stream import UnreadableVideo

LOOKED_AT = 32
"""Clips, evenly taken, whose lengths stand for all."""
GIGABYTE = 1e9
SPARE = 0.05
"""Share of the estimate that must be left over: lengths are estimated, and each file has a header."""


def open_frame_cache(run: Run, clips: Sequence[Clip]) -> FrameCache | None:
    """The frame cache of a training on these clips, None where `video.frame_cache` is off. Says how many bytes are to
    be written; raises InputError where the disk has not the room."""
    asked = run.config.video.frame_cache
    if not asked:
        return None
    cache = frame_cache_in(run.folder / "frames" if asked is True else Path(asked), run.config)
    make_folder(cache.folder)
    cache.clean()
    missing = cache.missing(clips)
    if missing:
        estimate = cache_bytes(missing, run.config)
        free = shutil.disk_usage(cache.folder).free
        size = f"about {estimate / GIGABYTE:.1f} GB of frames of {len(missing):,} clips"
        if estimate * (1 + SPARE) > free:
            raise InputError(
                f"{cache.folder}: {size} are to be written, and {free / GIGABYTE:.1f} GB are free. Make room, name a "
                "folder on another disk (video.frame_cache=FOLDER), or decode every epoch (video.frame_cache=false)."
            )
        log(f"{cache.folder}: {size} are written in the first epoch; {free / GIGABYTE:.1f} GB are free")
    return cache


def make_folder(folder: Path) -> None:
    """Raises InputError where it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"video.frame_cache {folder}: no folder can be made there ({error.strerror}). Name another one."
        ) from error


def frame_cache_in(folder: Path, config: Config) -> FrameCache:
    """Every frame is held where the kept ones begin at a random one of the first."""
    return FrameCache(folder, config.video, 1 if config.augmentation.phase else config.video.keep_every)


def cache_bytes(clips: Sequence[Clip], config: Config) -> int:
    """Bytes that the frames of these clips take, about: T x R x R x 3 of each, or T' without a random phase."""
    every = 1 if config.augmentation.phase else config.video.keep_every
    lengths = lengths_of(clips, config.video)
    return round(len(clips) * mean(lengths) / every * 3 * config.video.resize**2) if lengths else 0


def lengths_of(clips: Sequence[Clip], video: VideoConfig, looked_at: int = LOOKED_AT) -> list[int]:
    """T of so many of the clips, taken evenly; without those that cannot be read, which training will name."""
    lengths: list[int] = []
    for clip in clips[:: max(1, len(clips) // looked_at)]:
        with suppress(UnreadableVideo):
            lengths.append(open_frames(clip, 1, fps=video.fps).num_frames)
    return lengths
