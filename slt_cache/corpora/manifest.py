"""The manifest: a tab-separated file in, clips out, and back. Opens no video.

One line a clip under the header `id split video start end text [signer]`; no quoting, so a `"` in a sentence
is a character like any other. Video paths are relative to the manifest."""

import os
from collections.abc import Iterable
from pathlib import Path

from slt_cache.advice import command
from slt_cache.corpora.clips import SPLITS, Clip
from slt_cache.errors import InputError
from slt_cache.files import write_text

REQUIRED_COLUMNS = ("id", "split", "video", "start", "end", "text")
COLUMNS = (*REQUIRED_COLUMNS, "signer")
MAX_PROBLEMS_SHOWN = 10


class BadLines(InputError):
    """Lines of a manifest that are no clips; the message gives the first ones."""

    def __init__(self, path: Path, clips: list[tuple[int, Clip]], problems: list[tuple[int, str]]):
        shown = [f"  line {number}: {problem}" for number, problem in problems[:MAX_PROBLEMS_SHOWN]]
        more = len(problems) - len(shown)
        rest = [f"  ... and {more} more"] if more else []
        super().__init__("\n".join([f"{path}: {len(problems)} bad lines; correct them:", *shown, *rest]))
        self.clips = clips
        """The good lines: number and clip."""
        self.problems = problems
        """Number of the line and what is wrong, all of them."""


def read_manifest(path: Path) -> list[Clip]:
    """All clips, in the order of the file. Raises InputError that lists every bad line, up to ten."""
    return [clip for _, clip in read_numbered(path)]


def read_numbered(path: Path) -> list[tuple[int, Clip]]:
    """All clips with the number of their line. Raises InputError, or BadLines where only some lines are bad."""
    header, lines = _header_and_lines(path)
    clips: list[tuple[int, Clip]] = []
    problems: list[tuple[int, str]] = []
    line_of_id: dict[str, int] = {}
    for number, line in enumerate(lines, start=2):
        if not line.strip():
            continue
        try:
            clip = _clip_of_line(_row(header, line), path.parent)
            if clip.id in line_of_id:
                raise ValueError(f"id {clip.id!r} is already on line {line_of_id[clip.id]}")
        except ValueError as error:
            problems.append((number, str(error)))
            continue
        line_of_id[clip.id] = number
        clips.append((number, clip))
    if problems:
        raise BadLines(path, clips, problems)
    if not clips:
        raise InputError(f"{path}: no clips under the header. Add a line for each clip.")
    return clips


def _header_and_lines(path: Path) -> tuple[list[str], list[str]]:
    if not path.is_file():
        raise InputError(
            f"{path}: there is no such manifest. Make one with '{command('prepare')}', or name its folder."
        )
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # not splitlines: a sentence may hold U+2028
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start}). Save it as UTF-8.") from error
    header = lines[0].split("\t") if lines else []
    missing = [column for column in REQUIRED_COLUMNS if column not in header]
    if missing:
        raise InputError(
            f"{path}: the header lacks {', '.join(missing)}. The first line must be tab-separated: {' '.join(COLUMNS)}"
        )
    return header, lines[1:]


def _row(header: list[str], line: str) -> dict[str, str]:
    values = line.split("\t")
    if len(values) != len(header):
        raise ValueError(f"{len(values)} columns where the header has {len(header)}")
    return dict(zip(header, values, strict=True))


def _clip_of_line(row: dict[str, str], folder: Path) -> Clip:
    if not row["id"]:
        raise ValueError("the id is empty")
    if row["split"] not in SPLITS:
        raise ValueError(f"split {row['split']!r} is none of {', '.join(SPLITS)}")
    if not row["video"]:
        raise ValueError("the video is empty")
    start, end = _seconds(row, "start"), _seconds(row, "end")
    if end is not None and end <= (start or 0.0):
        raise ValueError(f"end {end} is not after start {start or 0.0}")
    if not row["text"].strip():
        raise ValueError("the text is empty")
    return Clip(
        id=row["id"],
        split=row["split"],
        video=folder / row["video"],
        start=start,
        end=end,
        text=row["text"],
        signer=row.get("signer", ""),
    )


def _seconds(row: dict[str, str], column: str) -> float | None:
    value = row[column].strip()
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        raise ValueError(f"{column} {value!r} is not a number of seconds") from None
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"{column} {value!r} is not a time in the video")
    return seconds


def _relative(video: Path, folder: Path) -> str:
    """Where folder is a link, the system takes `..` from where it leads to."""
    if video.is_relative_to(folder):
        return str(video.relative_to(folder))
    return os.path.relpath(video, folder.resolve())


def write_manifest(path: Path, clips: Iterable[Clip]) -> None:
    """Writes the clips, video paths relative to the manifest where they can be."""
    lines = ["\t".join(COLUMNS)]
    for clip in clips:
        video = _relative(clip.video.absolute(), path.parent.absolute())
        start, end = ("" if value is None else repr(float(value)) for value in (clip.start, clip.end))
        row = (clip.id, clip.split, video, start, end, clip.text, clip.signer)
        if any(character in value for value in row for character in "\t\n\r"):
            raise InputError(f"clip {clip.id!r}: a value holds a tab or a line break, which a manifest cannot.")
        lines.append("\t".join(row))
    write_text(path, "\n".join(lines) + "\n")
