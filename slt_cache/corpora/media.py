"""Videos and folders of frames on disk: their names, and the number of frames of folders. Decodes nothing."""

from collections.abc import Callable, Iterable
from pathlib import Path

from slt_cache.corpora.base import Problems
from slt_cache.corpora.characters import nfc
from slt_cache.corpora.official import NO_FRAME, STRAY_FILE, MediaFile, add_issue, unreadable

FRAME_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
"""Suffixes of frames that can be read."""
VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".avi", ".mov")
ProgressCallback = Callable[[int, int], None]
"""Called with the number done and the total."""


def no_progress(done: int, total: int) -> None:
    """Shows nothing."""


def frame_folders(
    folder: Path, names: Iterable[str], problems: Problems, progress: ProgressCallback = no_progress
) -> dict[str, MediaFile]:
    """Returns the folders of these names that hold frames, with the number of frames."""
    there = {nfc(path.name): path for path in _entries(folder) if path.is_dir()}
    named = [name for name in names if name in there]
    found: dict[str, MediaFile] = {}
    for done, name in enumerate(named, start=1):
        medium = _frames(there[name], problems)
        if medium is None:
            add_issue(problems, NO_FRAME, name)
        else:
            found[name] = medium
        progress(done, len(named))
    return found


def frame_files(folder: Path) -> list[Path]:
    """Returns the frames directly in a folder, sorted by name, without hidden files: a Mac puts `._1.png` next to
    `1.png`. Raises OSError."""
    frames = (path for path in folder.iterdir() if path.suffix.lower() in FRAME_SUFFIXES)
    return sorted(path for path in frames if not path.name.startswith("."))


def folder_names(folder: Path) -> list[str]:
    """Returns the composed (NFC) names of the subfolders of a folder, sorted."""
    return [nfc(path.name) for path in _entries(folder) if path.is_dir()]


def _frames(folder: Path, problems: Problems) -> MediaFile | None:
    """Finds the frames directly in the clip's folder, or in its subfolder `1`, as in some copies and in the official
    csv."""
    for place in (folder, folder / "1"):
        entries = _entries(place)
        frames = [path for path in entries if path.suffix.lower() in FRAME_SUFFIXES]
        others = (path for path in entries if path.suffix.lower() not in FRAME_SUFFIXES)
        strays = [path for path in others if not path.is_dir()]
        add_issue(problems, STRAY_FILE, (f"{folder.name}/{path.name}" for path in strays))
        if frames:
            return MediaFile(place, len(frames))
    return None


def _entries(folder: Path) -> list[Path]:
    try:
        entries = folder.iterdir() if folder.is_dir() else []
        return sorted(path for path in entries if not path.name.startswith("."))
    except OSError as error:
        raise unreadable(error) from error


def video_files(folder: Path) -> dict[str, Path]:
    """Returns composed (NFC) name without suffix -> file, for the videos directly in a folder."""
    return {nfc(path.stem): path for path in _entries(folder) if path.suffix.lower() in VIDEO_SUFFIXES}
