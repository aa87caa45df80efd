"""Opening of a run's cache of decoded frames, after a check of the disk space."""

import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from statistics import mean

from slt_cache.config import Config, VideoConfig
from slt_cache.corpora.base import Clip
from slt_cache.errors import InputError
from slt_cache.pipeline.probe import probed_frames
from slt_cache.progress import log
from slt_cache.runs.run import Run
from slt_cache.video.frame_cache import FrameCache
from slt_cache.video.frames import open_frames
from slt_cache.video.stream import UnreadableVideo

LOOKED_AT = 32
"""Number of evenly spaced clips whose lengths represent all."""
GIGABYTE = 1e9
SPARE = 0.05
"""Fraction of the estimate that must remain free, since lengths are estimated and each file has a header."""


def open_frame_cache(run: Run, clips: Sequence[Clip]) -> FrameCache | None:
    """Opens the frame cache of a training on these clips, None if `video.frame_cache` is off. Logs how many bytes will
    be written; raises InputError if the disk lacks the space."""
    asked = run.config.video.frame_cache
    if not asked:
        return None
    cache = frame_cache_in(run.folder / "frames" if asked is True else Path(asked), run.config)
    make_folder(cache.folder)
    cache.clean()
    missing = cache.missing(clips)
    if missing:
        estimate = cache_bytes(missing, run.config, run.folder)
        free = shutil.disk_usage(cache.folder).free
        size = f"about {estimate / GIGABYTE:.1f} GB of frames of {len(missing):,} clips"
        if estimate * (1 + SPARE) > free:
            raise InputError(
                f"{cache.folder}: {size} are to be written, but {free / GIGABYTE:.1f} GB are free. Make room, choose a "
                "folder on another disk (video.frame_cache=FOLDER), or decode every epoch (video.frame_cache=false)."
            )
        log(f"{cache.folder}: {size} are written in the first epoch; {free / GIGABYTE:.1f} GB are free")
    return cache


def make_folder(folder: Path) -> None:
    """Makes the folder. Raises InputError if that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"video.frame_cache {folder}: cannot make this folder ({error.strerror}). Choose another one."
        ) from error


def frame_cache_in(folder: Path, config: Config) -> FrameCache:
    """Returns the frame cache in a folder; it holds every frame if kept frames start at a random offset."""
    return FrameCache(folder, config.video, 1 if config.augmentation.phase else config.video.keep_every)


def cache_bytes(clips: Sequence[Clip], config: Config, folder: Path | None = None) -> int:
    """Returns the approximate bytes of these clips' frames: T x R x R x 3 each, or T' without temporal jitter. `folder`
    is the run's, which remembers lengths."""
    every = 1 if config.augmentation.phase else config.video.keep_every
    lengths = lengths_of(clips, config.video, folder=folder)
    return round(len(clips) * mean(lengths) / every * 3 * config.video.resize**2) if lengths else 0


def lengths_of(
    clips: Sequence[Clip], video: VideoConfig, looked_at: int = LOOKED_AT, folder: Path | None = None
) -> list[int]:
    """Returns T of `looked_at` evenly spaced clips, without unreadable ones, which training will name. Videos that the
    run of this folder has probed are not opened again."""
    known = (lambda clip: None) if folder is None else probed_frames(folder, video.fps)
    lengths: list[int] = []
    for clip in clips[:: max(1, len(clips) // looked_at)]:
        with suppress(UnreadableVideo):
            lengths.append(known(clip) or open_frames(clip, 1, fps=video.fps).num_frames)
    return lengths
