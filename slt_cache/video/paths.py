"""Finds the videos named on a command line: files, folders of frames, and folders of either. Opens no video."""

import os
from collections.abc import Iterable
from pathlib import Path

from slt_cache.corpora.media import FRAME_SUFFIXES, VIDEO_SUFFIXES
from slt_cache.errors import InputError

MORE_SUFFIXES = (".m4v", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv", ".3gp", ".ogv", ".vob")
"""Further suffixes of videos, from phones, cameras and television; no corpus has them."""


def find_videos(paths: Iterable[Path]) -> list[Path]:
    """Returns named files, whatever their suffix; a folder of frames as one video; for any other folder all videos and
    folders of frames at any depth, sorted by name. Hidden files are ignored.

    A folder that contains videos at any depth is no folder of frames: images next to videos are covers, not signing.
    Raises InputError for a folder with neither."""
    found: list[Path] = []
    for path in paths:
        found.extend(_below(path) if path.is_dir() else [path])
    return found


def _below(top: Path) -> list[Path]:
    videos: list[Path] = []
    frames: list[Path] = []
    for parent, folders, names in os.walk(top, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        visible = sorted(name for name in names if not name.startswith("."))
        own = [Path(parent) / name for name in visible if _suffix(name) in (*VIDEO_SUFFIXES, *MORE_SUFFIXES)]
        videos.extend(own)
        if not own and any(_suffix(name) in FRAME_SUFFIXES for name in visible):
            frames.append(Path(parent))
    if frames and frames[0] == top:
        frames = frames[1:] if videos else [top]
    if not videos and not frames:
        raise InputError(f"{top}: no video and no png or jpg frames in this folder or below. Name another one.")
    return sorted([*videos, *frames])


def _suffix(name: str) -> str:
    return Path(name).suffix.lower()


def _refuse(error: OSError) -> None:
    raise InputError(f"{error.filename}: the folder cannot be read ({error.strerror}).") from error
