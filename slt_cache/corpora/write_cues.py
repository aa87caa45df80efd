"""Subtitle files out: sentences with times in, WebVTT (.vtt) or SubRip (.srt) out. A sentence is one cue on one line,
an empty one too."""

import html
import os
import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from slt_cache.errors import InputError
from slt_cache.files import write_text

Sentence = tuple[float, float, str]
"""Beginning and end in seconds, and text."""
_MARKUP = re.compile(r"--(?=>)|<(?=[A-Za-z/])|\{(?=\\)")
"""What SubRip, which knows no entities, would take for times or tags."""
JOINER = "\u2060"
"""Character without width that separates them (WORD JOINER)."""


def vtt(sentences: Iterable[Sentence]) -> str:
    """Returns a WebVTT file."""
    cues = (f"{_times(start, end, '.')}\n{html.escape(_line(text), quote=False)}\n" for start, end, text in sentences)
    return "\n".join(["WEBVTT\n", *cues])


def srt(sentences: Iterable[Sentence]) -> str:
    """Returns a SubRip file."""
    return "\n".join(
        f"{number}\n{_times(start, end, ',')}\n{_MARKUP.sub(lambda found: found[0] + JOINER, _line(text))}\n"
        for number, (start, end, text) in enumerate(sentences, start=1)
    )


SAVE_SECONDS = 10.0
"""Seconds of translations that a kill may lose."""
WRITERS = {".srt": srt, ".vtt": vtt}


def _line(text: str) -> str:
    return " ".join(text.split())


def _times(start: float, end: float, point: str) -> str:
    first = round(start * 1000)
    return f"{_time(first, point)} --> {_time(max(round(end * 1000), first + 1), point)}"


def _time(milliseconds: int, point: str) -> str:
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{point}{rest % 1000:03}"


class SubtitleFiles:
    """Subtitle files of one kind for one video or several."""

    def __init__(self, out: Path, suffix: str, videos: Sequence[Path]):
        """`out` is a file with this suffix, or else a folder, in which each video gets a file of its name. Raises
        InputError if that cannot be, before anything is translated."""
        self._suffix = suffix
        option = f"--{suffix[1:]} {out}"
        is_file = out.suffix.lower() == suffix and not out.is_dir()
        if is_file and len(videos) > 1:
            raise InputError(f"{option}: one file for {len(videos)} videos. Name a folder: each gets a file in it.")
        paths = [out if is_file else out / f"{video.stem}{suffix}" for video in videos]
        for number, path in enumerate(paths):
            if path in paths[:number]:
                raise InputError(f"{option}: several videos are called {path.stem}. Translate them one by one.")
        folder = out.parent if is_file else out
        if out.exists() and not (out.is_file() if is_file else out.is_dir()):
            raise InputError(f"{option}: not a file with the suffix {suffix}, and not a folder. Name one.")
        place = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
        if not place.is_dir() or not os.access(place, os.W_OK):
            raise InputError(f"{option}: {place} is no folder that can be written to. Name another place.")
        self._paths = dict(zip(videos, paths, strict=True))
        self._sentences: dict[Path, list[Sentence]] = {video: [] for video in videos}
        self._changed: set[Path] = set()
        self._saved = time.monotonic()

    def add(self, video: Path, start: float, end: float, text: str) -> None:
        """Adds a sentence of a video, in order of time. Now and then, all is saved."""
        self._sentences[video].append((start, end, text))
        self._changed.add(video)
        if time.monotonic() - self._saved > SAVE_SECONDS:
            self.save()

    def save(self) -> None:
        """Writes the files of the videos with new sentences; a video without a sentence has no file."""
        for video in sorted(self._changed):
            write_text(self._paths[video], WRITERS[self._suffix](self._sentences[video]))
        self._changed, self._saved = set(), time.monotonic()
