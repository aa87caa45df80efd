"""Reads the table of features that were made elsewhere: a tab-separated file in, clips and the paths of their files
out. Opens no file of features.

A header with id, split and text in any order, and if known file, num_frames and fps, is followed by one line per clip;
with a column view, by one line per view."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from slt_cache.cache_tools.arrays import FORMATS, read_features
from slt_cache.cache_tools.export import TABLE
from slt_cache.corpora.base import NOWHERE, Origin
from slt_cache.corpora.characters import existing
from slt_cache.corpora.manifest import language_in
from slt_cache.corpora.official import without_breaks
from slt_cache.corpora.own_table import own_path, read_rows, remarks, values_by_column
from slt_cache.errors import InputError
from slt_cache.features.clip_names import stem_of
from slt_cache.features.layout import ORIGIN, SOURCE, canonical

REQUIRED_COLUMNS = ("id", "split", "text")
COLUMNS = (*REQUIRED_COLUMNS, "file", "view", "num_frames", "fps", *ORIGIN)
MAX_FRAMES = 2**31 - 1


@dataclass(frozen=True)
class ListedView:
    """One file of features."""

    file: Path
    num_frames: int
    """T, source frames; 0 if unknown."""
    fps: float
    """Source frames per second; 0 if unknown."""
    source: str = ""
    """Fingerprint of their source; empty if unknown."""
    read: Callable[[Path], np.ndarray] = read_features
    """Reads [N, C] from the file. Raises BadFile."""
    origin: Origin = NOWHERE
    """Corpus and language of the clip, if the table says so."""


@dataclass(frozen=True)
class ListedClip:
    """One clip of the table."""

    clip_id: str
    text: str
    views: tuple[ListedView, ...]
    """Views, starting with view 0."""


def find_table(folder: Path) -> Path:
    """Returns features.tsv, or else the only .tsv of the folder. Raises InputError if there is none, or several."""
    if (folder / TABLE).is_file():
        return folder / TABLE
    tables = sorted(folder.glob("*.tsv"))
    if len(tables) != 1:
        found = ", ".join(table.name for table in tables[:5]) or "none"
        raise InputError(
            f"{folder}: expected one .tsv file, found {found}. Name the table {TABLE}: a header with "
            f"{', '.join(REQUIRED_COLUMNS)}, tab-separated, then a line for each clip."
        )
    return tables[0]


def read_table(path: Path, as_it_is: bool, remark: Callable[[str], None]) -> dict[str, list[ListedClip]]:
    """Reads the clips of each split in the order of the file. `as_it_is`: quotes have no meaning, as in an export.
    `remark` is called with irregularities. Raises InputError with the first bad line and the number of bad lines."""
    table = read_rows(path, REQUIRED_COLUMNS, COLUMNS, as_it_is)
    for line in remarks(table):
        remark(f"{path}: {line}")
    (_, header), *lines = table.numbered
    problems: list[str] = []
    rows: dict[tuple[str, str], dict[int, tuple[str, ListedView]]] = {}
    for number, values in lines:
        if not "".join(values).strip():
            continue
        try:
            _add(rows, header, [without_breaks(value) for value in values], path.parent)
        except ValueError as error:
            problems.append(f"line {number}: {error}")
    problems += _incomplete(rows)
    if problems:
        more = "" if len(problems) == 1 else f" ({len(problems):,} bad lines in all)"
        raise InputError(f"{path}: {problems[0]}{more}. Correct the table.")
    if not rows:
        raise InputError(f"{path}: no clips after the header. Add a line for each clip.")
    return _clips(rows)


_Rows = dict[tuple[str, str], dict[int, tuple[str, ListedView]]]
"""(split, id) -> view -> sentence and file."""


def _add(rows: _Rows, header: list[str], values: list[str], folder: Path) -> None:
    """Adds one line to `rows`. Raises ValueError with what is wrong with it."""
    row = values_by_column(header, values)
    view = int(_number(row, "view", 99))
    num_frames = int(_number(row, "num_frames", MAX_FRAMES))
    views = rows.setdefault((row["split"], row["id"]), {})
    if view in views:
        raise ValueError(f"id {row['id']!r} is already in {row['split']}")
    fps = _number(row, "fps", 1e6, whole=False)
    origin = Origin(row.get("corpus", "").strip(), language_in(row))
    found = ListedView(_file_of(row, view, folder), num_frames, fps, row.get(SOURCE, ""), origin=origin)
    views[view] = row["text"], found


def _number(row: dict[str, str], column: str, highest: float, whole: bool = True) -> float:
    """Returns the number in a column; 0 if it is empty."""
    value = row.get(column, "").strip()
    try:
        number = float(value or 0)
    except ValueError:
        number = math.nan
    if not 0 <= number <= highest or (whole and number != int(number)):
        raise ValueError(f"{column} {value!r} is not a {'whole ' if whole else ''}number from 0 to {highest:g}")
    return number


def _file_of(row: dict[str, str], view: int, folder: Path) -> Path:
    """Returns the file that the line names; else the first that exists in the folder of the split or of the table,
    named by the id, as it is or percent-encoded."""
    if row.get("file"):
        return own_path(row["file"], folder)
    plain = f"{row['id']}.view{view}" if view else row["id"]
    stems = [stem_of(row["id"], view), *([] if plain.startswith("/") else [plain])]
    candidates = [
        base / f"{stem}.{suffix}" for base in (folder / row["split"], folder) for stem in stems for suffix in FORMATS
    ]
    found = (existing(candidate) for candidate in candidates)
    return next((candidate for candidate in found if candidate.is_file()), candidates[0])


def _incomplete(rows: _Rows) -> list[str]:
    """Returns one line for each clip with other views than the first, or with several sentences."""
    problems = []
    views = len(next(iter(rows.values()), {}))
    for (split, clip_id), found in rows.items():
        if sorted(found) != list(range(views)):
            numbers = ", ".join(map(str, sorted(found)))
            problems.append(
                f"clip {clip_id!r} of {split} has views {numbers}, but the first has {views}, counted from 0"
            )
        elif len({text for text, _ in found.values()}) > 1:
            problems.append(f"clip {clip_id!r} of {split} has different sentences in its views")
    return problems


def _clips(rows: _Rows) -> dict[str, list[ListedClip]]:
    splits: dict[str, list[ListedClip]] = {}
    for (split, clip_id), found in rows.items():
        views = tuple(found[view][1] for view in range(len(found)))
        splits.setdefault(split, []).append(ListedClip(clip_id, found[0][0], views))
    return {split: splits[split] for split in sorted(splits, key=canonical)}
