"""One how2sign_realigned_SPLIT.csv in, its rows out. Copies with tabs and with commas are in circulation, each with and
without the quotes of csv; the format is decided line by line, so that a lone `"` in a sentence swallows no other
row."""

import csv
import math
from dataclasses import dataclass
from pathlib import Path

from slt_cache.corpora.base import Problems
from slt_cache.corpora.characters import nfc
from slt_cache.corpora.official import UNREADABLE_ROW, add_issue, read_lines
from slt_cache.errors import InputError

COLUMNS = ("VIDEO_NAME", "SENTENCE_NAME", "START_REALIGNED", "END_REALIGNED", "SENTENCE")
MAX_BREAKS = 5
"""Most line breaks in one quoted sentence."""


@dataclass(frozen=True)
class Row:
    """One sentence of a full video."""

    video: str
    clip: str
    """Name of the sentence, and of the ready-cut clip."""
    start: float
    """Beginning in seconds."""
    end: float
    """End in seconds."""
    text: str
    place: str
    """File and line."""


def read_rows(path: Path, problems: Problems) -> list[Row]:
    """Returns the rows in the order of the file. Raises InputError if the header lacks a column."""
    lines = read_lines(path)
    separator = "\t" if lines and "\t" in lines[0] else ","
    header = _values(lines[0], separator) if lines else []
    missing = [column for column in COLUMNS if column not in header]
    if missing:
        raise InputError(f"{path}: the header lacks {', '.join(missing)}. Use the re-aligned file of How2Sign.")
    rows: list[Row] = []
    number = 1
    while number < len(lines):
        line, more = _joined(lines, number, separator, len(header))
        place = f"{path.name} line {number + 1}"
        number += 1 + more
        if not line.strip():
            continue
        try:
            rows.append(_row(dict(zip(header, _checked(line, separator, len(header)), strict=True)), place))
        except ValueError as error:
            add_issue(problems, UNREADABLE_ROW, f"{place}: {error}")
    return rows


def _joined(lines: list[str], number: int, separator: str, columns: int) -> tuple[str, int]:
    """Returns a line, joined with the next ones if a quoted sentence continues there, and the number of these."""
    line = lines[number]
    if line.count('"') % 2 == 0 or f'{separator}"' not in line:
        return line, 0
    for more in range(1, MAX_BREAKS + 1):
        following = lines[number + 1 : number + 1 + more]
        if len(following) < more or len(_values(following[-1], separator)) == columns:
            break  # another row: the quote was part of the sentence
        if following[-1].count('"') % 2:
            return "\n".join([line, *following]), more
    return line, 0


def _checked(line: str, separator: str, columns: int) -> list[str]:
    values = _values(line, separator)
    if len(values) > columns and separator == ",":
        values = line.split(",", columns - 1)  # not the quoting of csv: commas stand in the sentence, which is last
    if len(values) != columns:
        raise ValueError(f"{len(values)} columns, but the header has {columns}")
    return values


def _values(line: str, separator: str) -> list[str]:
    if separator == "\t":
        return [_unquoted(value) for value in line.split("\t")]
    try:
        [values] = csv.reader([line], strict=True)
    except (csv.Error, ValueError):
        return line.split(",")
    return values


def _unquoted(value: str) -> str:
    """Removes the quotes of csv, which double every quote inside; a sentence that merely has quotes keeps them."""
    inner = value[1:-1]
    quoted = len(value) > 2 and value[0] == value[-1] == '"' and '""' in inner and '"' not in inner.replace('""', "")
    has_break = len(value) > 2 and value[0] == value[-1] == '"' and "\n" in inner
    return inner.replace('""', '"') if quoted or has_break else value


def _row(values: dict[str, str], place: str) -> Row:
    start, end = _seconds(values["START_REALIGNED"]), _seconds(values["END_REALIGNED"])
    if end <= start:
        raise ValueError(f"end {end} is not after start {start}")
    return Row(nfc(values["VIDEO_NAME"]), nfc(values["SENTENCE_NAME"]), start, end, values["SENTENCE"], place)


def _seconds(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        raise ValueError(f"{value[:40]!r} is not a number of seconds") from None
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"{value[:40]!r} is not a time in a video")
    return seconds
