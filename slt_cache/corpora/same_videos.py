"""Clips that show the same pictures, which inflate scores if they are in different splits: overlapping cuts of one
video, and one video under several names. Looks at files; decodes nothing."""

import hashlib
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from slt_cache.corpora.base import Clip, Problems
from slt_cache.corpora.media import frame_files
from slt_cache.corpora.official import add_issue

OVERLAP = "overlapping cuts of one video in different splits"
SAME_VIDEO = "one video under several names in different splits"
SAME_IN_SPLIT = "one video under several names"
SHORTEST = 0.05
"""Seconds of an overlap; anything shorter is the rounding of a subtitle."""
HASHED_AT_ONCE = 1 << 20


def shared_videos(clips: Sequence[Clip]) -> Problems:
    """Returns the findings by kind, except what `same video and start on several lines` reports. Links are followed;
    files of one size are compared by their bytes, and folders of frames by those of all frames."""
    names = _names(clips)
    problems: Problems = {}
    for same in names.values():
        videos = sorted({clip.video for clip in same})
        splits = sorted({clip.split for clip in same})
        if len(videos) > 1:
            kind = SAME_VIDEO if len(splits) > 1 else SAME_IN_SPLIT
            add_issue(problems, kind, f"{', '.join(map(str, videos))} (clips of {', '.join(splits)})")
        if len(splits) > 1:
            add_issue(problems, OVERLAP, overlaps(same))
    return problems


def _names(clips: Sequence[Clip]) -> dict[str, list[Clip]]:
    """Returns identity of a video -> the clips cut from it, in order."""
    videos = {clip.video for clip in clips}
    real = {video: _real(video) for video in videos}
    identity = {path: str(path) for path in set(real.values())} | _of_copies(set(real.values()))
    found: dict[str, list[Clip]] = {}
    for clip in clips:
        found.setdefault(identity[real[clip.video]], []).append(clip)
    return found


def _real(video: Path) -> Path:
    try:
        return video.resolve()
    except (OSError, ValueError, RuntimeError):
        return video


def _of_copies(videos: Iterable[Path]) -> dict[Path, str]:
    """Returns a common identity for videos with the same size and bytes."""
    sized = sorted((size, str(video)) for video in videos if (size := _size(video)) is not None)
    identity: dict[Path, str] = {}
    for _, same in groupby(sized, key=lambda entry: entry[0]):
        paths = [Path(name) for _, name in same]
        if len(paths) > 1:
            identity |= {path: digest for path in paths if (digest := _digest(path)) is not None}
    return identity


def _size(video: Path) -> tuple[int, ...] | None:
    """Returns the bytes of a file, or those of each frame of a folder; None if it cannot be read or is empty."""
    try:
        if video.is_dir():
            sizes = tuple(frame.stat().st_size for frame in frame_files(video))
            return sizes if any(sizes) else None
        return (video.stat().st_size,) if video.stat().st_size else None
    except (OSError, ValueError):
        return None


def _digest(video: Path) -> str | None:
    digest = hashlib.sha256()
    try:
        for path in frame_files(video) if video.is_dir() else [video]:
            with path.open("rb") as file:
                while piece := file.read(HASHED_AT_ONCE):
                    digest.update(piece)
    except OSError:
        return None
    return digest.hexdigest()


def overlaps(clips: Sequence[Clip]) -> list[str]:
    """Returns each clip of one video that overlaps a clip of another split."""
    found: list[str] = []
    open_now: list[Clip] = []
    for clip in sorted(clips, key=lambda clip: clip.start or 0.0):
        start = clip.start or 0.0
        open_now = [other for other in open_now if _end(other) - start > SHORTEST]
        for other in open_now:
            shared = min(_end(other), _end(clip)) - start
            if other.split != clip.split and shared > SHORTEST:
                seconds = "" if shared == float("inf") else f" by {shared:.2f} s"
                found.append(f"{other.id} ({other.split}) and {clip.id} ({clip.split}){seconds}: {clip.video.name}")
        open_now.append(clip)
    return found


def _end(clip: Clip) -> float:
    return float("inf") if clip.end is None else clip.end
