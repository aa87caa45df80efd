"""Files of a corpus wherever they lie below its folder: annotation files by name, videos by their name without suffix.
Opens none."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from slt_cache.corpora.base import Problems
from slt_cache.corpora.characters import nfc
from slt_cache.corpora.media import VIDEO_SUFFIXES
from slt_cache.corpora.official import ALSO_THERE, NO_ANNOTATION, add_issue, unreadable

NOT_SEARCHED = ("openpose", "keypoints", "2d_keypoints", "json", "pose_format")
"""Beginnings and ends of the names of folders with millions of files and no video."""


def files_below(root: Path, wanted: Callable[[str], bool]) -> list[Path]:
    """Returns videos and the files with a wanted name anywhere in a folder, the nearest first. Links are followed.
    Raises InputError for a folder that cannot be read, since it could hold anything."""
    return sorted(_walk(root, wanted), key=lambda path: (len(path.parts), str(path)))


def _walk(root: Path, wanted: Callable[[str], bool]) -> Iterator[Path]:
    seen: set[str] = set()
    for place, folders, names in os.walk(root, onerror=_refuse, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [
            name
            for name in folders
            if not name.lower().startswith(NOT_SEARCHED) and not name.lower().endswith(NOT_SEARCHED)
        ]
        for name in names:
            if not name.startswith(".") and (name.lower().endswith(VIDEO_SUFFIXES) or wanted(name)):
                yield Path(place, name)


def _refuse(error: OSError) -> None:
    raise unreadable(error) from error


def first_named(
    files: Iterable[Path], wanted: Sequence[str], problems: Problems, split: str | None = None
) -> Path | None:
    """Returns the nearest file with one of the names, in lower case; if there is none, it is listed as missing for the
    `split`."""
    found = [path for path in files if path.name.lower() in wanted]
    if not found:
        add_issue(problems, NO_ANNOTATION, [] if split is None else f"{split}: {wanted[0]}")
        return None
    if len(found) > 1:
        add_issue(problems, ALSO_THERE, ", ".join(map(str, found)))
    return found[0]


def name_of(file: str) -> str:
    """Returns the name of a video file without folder and suffix; a name that has neither stays."""
    path = PurePosixPath(file)
    return path.stem if path.suffix.lower() in VIDEO_SUFFIXES else path.name


def videos_by_name(files: Iterable[Path], problems: Problems) -> dict[str, Path]:
    """Returns composed (NFC) name without suffix -> video; the first of several is taken."""
    videos: dict[str, Path] = {}
    for path in files:
        if path.suffix.lower() in VIDEO_SUFFIXES and videos.setdefault(nfc(path.stem), path) != path:
            add_issue(problems, ALSO_THERE, f"{videos[nfc(path.stem)]}, {path}")
    return videos
