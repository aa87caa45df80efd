"""The manifest: a tab-separated file in, clips out, and back. Opens no video.

One line a clip under the header `id split video start end text [signer] [box] [corpus] [language]`. The manifest of a
run, which `prepare` writes, has no quoting; one that a user wrote is read as corpora/own_table.py describes. Video
paths are relative to the manifest, or absolute, or begin with `~`."""

import hashlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from slt_cache.advice import command
from slt_cache.corpora.base import Box, Clip
from slt_cache.corpora.characters import normalized
from slt_cache.corpora.languages import is_label, short_name
from slt_cache.corpora.official import without_breaks
from slt_cache.corpora.own_table import Rows, own_path, read_rows, remarks, values_by_column
from slt_cache.errors import InputError
from slt_cache.files import replacing

REQUIRED_COLUMNS = ("id", "split", "video", "start", "end", "text")
COLUMNS = (*REQUIRED_COLUMNS, "signer")
OPTIONAL_COLUMNS = ("box", "corpus", "language")
"""Columns that are written only if a clip has them."""
KNOWN_COLUMNS = (*COLUMNS, *OPTIONAL_COLUMNS)
"""Columns that are read."""
MAX_PROBLEMS_SHOWN = 10
VIDEOS_AT_ONCE = 4096
"""Videos whose paths are kept while a manifest is read or written; the clips of one video share its path."""


class BadLines(InputError):
    """Error for lines of a manifest that are not valid clips; the message gives the first ones."""

    def __init__(self, path: Path, clips: list[tuple[int, Clip]], problems: list[tuple[int, str]], doubtful: list[int]):
        shown = [f"  line {number}: {problem}" for number, problem in problems[:MAX_PROBLEMS_SHOWN]]
        more = len(problems) - len(shown)
        rest = [f"  ... and {more} more"] if more else []
        super().__init__("\n".join([f"{path}: {bad_lines(len(problems))}:", *shown, *rest]))
        self.clips = clips
        """Number and clip of each good line."""
        self.problems = problems
        """Number and problem of each bad line."""
        self.doubtful = doubtful
        """Lines with values that look quoted."""


@dataclass(frozen=True)
class OwnManifest:
    """A manifest that a user wrote."""

    numbered: list[tuple[int, Clip]]
    """Clips, each with the number of its line."""
    unquoted: list[int]
    """Lines on which the quotes of csv were removed."""
    doubtful: list[int]
    """Lines with values that look quoted, and were kept as they are."""
    broken: list[int]
    """Lines whose sentence held a tab or a line break, which became a space."""

    @property
    def remarks(self) -> list[str]:
        """Messages about quotes that were removed or kept."""
        return remarks(Rows([], self.unquoted, self.doubtful))

    @property
    def clips(self) -> list[Clip]:
        return [clip for _, clip in self.numbered]


def read_manifest(path: Path) -> list[Clip]:
    """Returns all clips of a run's manifest, in the order of the file. Raises InputError that lists up to ten bad
    lines."""
    return [clip for _, clip in _clips(path, _rows(path, as_they_are=True))]


def has_boxes(path: Path) -> bool:
    """Returns whether a clip of a run's manifest has a box; False without a manifest. Raises InputError like
    `read_manifest`."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            names_boxes = "box" in file.readline().rstrip("\r\n").split("\t")
    except (OSError, UnicodeDecodeError):
        names_boxes = path.is_file()  # reading the clips says what is wrong
    return names_boxes and any(clip.box is not None for clip in read_manifest(path))


def read_own_manifest(path: Path) -> OwnManifest:
    """Reads a manifest that a user wrote. Raises InputError, or BadLines if only some lines are bad."""
    rows = _rows(path)
    if not rows.unquoted:  # only within quotes may a value hold a tab or a line break
        return OwnManifest(_clips(path, rows), [], rows.doubtful, [])
    plain = [(number, [without_breaks(value) for value in values]) for number, values in rows.numbered]
    broken = [number for (number, values), (_, old) in zip(plain, rows.numbered, strict=True) if values != old]
    return OwnManifest(_clips(path, Rows(plain, rows.unquoted, [])), rows.unquoted, [], broken)


def _rows(path: Path, as_they_are: bool = False) -> Rows:
    if not path.is_file():
        raise InputError(
            f"{path}: there is no such manifest. Make one: {command('prepare CORPUS', root='DIR')}; or name its folder."
        )
    return read_rows(path, REQUIRED_COLUMNS, KNOWN_COLUMNS, as_they_are)


def _clips(path: Path, rows: Rows) -> list[tuple[int, Clip]]:
    lines = iter(rows.numbered)
    _, header = next(lines)
    clips: list[tuple[int, Clip]] = []
    problems: list[tuple[int, str]] = []
    line_of_id: dict[str, int] = {}
    path_of = lru_cache(VIDEOS_AT_ONCE)(lambda name: own_path(name, path.parent))
    for number, values in lines:
        if not "".join(values).strip():
            continue
        try:
            clip = _clip_of_line(values_by_column(header, values), path_of)
            seen = normalized(clip.id).strip()  # ids that look alike are the same to any reader
            if seen in line_of_id:
                raise ValueError(f"id {clip.id!r} is already on line {line_of_id[seen]}")
        except ValueError as error:
            problems.append((number, str(error)))
            continue
        line_of_id[seen] = number
        clips.append((number, clip))
    if problems:
        raise BadLines(path, clips, problems, rows.doubtful)
    if not clips:
        raise InputError(f"{path}: no clips after the header. Add a line for each clip.")
    return clips


def bad_lines(count: int) -> str:
    """Returns a message with the number of lines to correct."""
    return "1 bad line; correct it" if count == 1 else f"{count:,} bad lines; correct them"


def _clip_of_line(row: dict[str, str], path_of: Callable[[str], Path]) -> Clip:
    if not row["video"]:
        raise ValueError("the video is empty")
    start, end = _seconds(row, "start"), _seconds(row, "end")
    if end is not None and end <= (start or 0.0):
        raise ValueError(f"end {end} is not after start {start or 0.0}")
    return Clip(
        id=row["id"],
        split=sys.intern(row["split"]),
        video=path_of(row["video"]),
        start=start,
        end=end,
        text=row["text"],
        signer=sys.intern(row.get("signer", "")),
        box=parsed_box(value) if (value := row.get("box", "").strip()) else None,
        corpus=sys.intern(row.get("corpus", "").strip()),
        language=language_in(row),
    )


def language_in(row: dict[str, str]) -> str:
    """Returns the short name of the language in a row, empty if it has none. Raises ValueError if it cannot be one."""
    value = row.get("language", "").strip()
    if value and not is_label(value):
        raise ValueError(f"language {value!r} is not the code of a language, such as de or en")
    return short_name(value)


def parsed_box(value: str) -> Box:
    """Returns a box as a manifest has it. Raises ValueError for anything else."""
    try:
        left, top, right, bottom = map(float, value.split(","))
    except ValueError:
        raise ValueError(f"box {value!r} is not x0,y0,x1,y1, such as 0.25,0,0.75,1") from None
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise ValueError(f"box {value!r} is not a part of the frame: its sides are shares of width and height, 0 to 1")
    return left, top, right, bottom


def _seconds(row: dict[str, str], column: str) -> float | None:
    value = row[column].strip()
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        raise ValueError(f"{column} {value!r} is not a number of seconds, such as 12.4") from None
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"{column} {value!r} is not a time in the video; leave it empty for the whole video")
    return seconds


def boxed(box: Box | None) -> str:
    """Returns a box as a manifest has it; empty for whole frames."""
    return "" if box is None else ",".join(repr(float(side)) for side in box)


def _relative(video: Path, folder: Path) -> str:
    """Resolves the folder first: if it is a link, the system takes `..` from its target."""
    video = video.absolute()
    if video.is_relative_to(folder):
        return str(video.relative_to(folder))
    return os.path.relpath(video, folder.resolve())


def write_manifest(
    path: Path, clips: Iterable[Clip], before: Callable[[str], None] = lambda manifest_sha256: None
) -> None:
    """Writes the clips, with video paths relative to the manifest if possible. `before` is called with the SHA-256 of
    the new file before it takes its place."""
    digest = hashlib.sha256()
    with replacing(path) as temporary:
        with temporary.open("wb") as file:
            for line in _lines(path, list(clips)):
                data = line.encode()
                digest.update(data)
                file.write(data)
        before(digest.hexdigest())


def _lines(path: Path, clips: Sequence[Clip]) -> Iterator[str]:
    held = [name for name in OPTIONAL_COLUMNS if any(getattr(clip, name) for clip in clips)]
    columns = (*COLUMNS, *held)
    yield "\t".join(columns) + "\n"
    folder = path.parent.absolute()
    relative = lru_cache(VIDEOS_AT_ONCE)(lambda video: _relative(video, folder))
    for clip in clips:
        video = relative(clip.video)
        start, end = ("" if value is None else repr(float(value)) for value in (clip.start, clip.end))
        also = {"box": boxed(clip.box), "corpus": clip.corpus, "language": clip.language}
        row = (clip.id, clip.split, video, start, end, clip.text, clip.signer, *(also[name] for name in held))
        if any(character in value for value in row for character in "\t\n\r"):
            raise InputError(f"clip {clip.id!r}: a value holds a tab or a line break, which a manifest cannot.")
        yield "\t".join(row) + "\n"
