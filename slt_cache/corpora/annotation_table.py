"""An annotation file of an official corpus with a line for each clip: rows out. Copies with tabs and with commas are in
circulation, each with and without the quotes of csv; the format is decided line by line, so that a lone `"` in a
sentence swallows no other row."""

import csv
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from slt_cache.corpora.base import Problems
from slt_cache.corpora.official import UNREADABLE_ROW, add_issue, read_lines
from slt_cache.errors import InputError

MAX_BREAKS = 5
"""Most line breaks in one quoted sentence."""
T = TypeVar("T")
_CLOCK = re.compile(r"(?:(\d{1,5}):)?([0-5]?\d):([0-5]?\d(?:[.,]\d{1,9})?)", re.ASCII)


def read_annotation(
    path: Path,
    columns: Sequence[str],
    row_of: Callable[[dict[str, str], str], T],
    problems: Problems,
    no_header: Sequence[str] = (),
    advice: str = "Is this the official file? Get it again.",
) -> list[T]:
    """Returns the rows in the order of the file. A column such as `text|caption` has several names in copies; rows have
    the first. `row_of` makes one of the values by column and the place, file and
    line, and raises ValueError for a row that cannot be read, which is then listed. `no_header` names the columns of
    copies without a header. Raises InputError, with the advice, if the header lacks one of the `columns`."""
    lines = read_lines(path)
    separator = "\t" if lines and "\t" in lines[0] else ","
    header = _with_own_names(_values(lines[0], separator), columns) if lines else []
    missing = [column.replace("|", " or ") for column in columns if column.partition("|")[0] not in header]
    number = 1
    if missing and no_header and len(header) == len(no_header):
        header, number = list(no_header), 0
    elif missing:
        raise InputError(f"{path}: the header lacks {', '.join(missing)}. {advice}")
    rows: list[T] = []
    while number < len(lines):
        line, more = _joined(lines, number, separator, len(header))
        place = f"{path.name} line {number + 1}"
        number += 1 + more
        if not line.strip():
            continue
        try:
            values = _checked(line, separator, len(header))
            if _with_own_names(values, columns) == header:
                raise ValueError("the header again")  # in files that were joined
            rows.append(row_of(dict(zip(header, values, strict=True)), place))
        except ValueError as error:
            add_issue(problems, UNREADABLE_ROW, f"{place}: {error}")
    return rows


def _with_own_names(header: list[str], columns: Sequence[str]) -> list[str]:
    """Returns the header with the first of its names for each column that has several."""
    header = list(header)
    for first, *others in (column.split("|") for column in columns):
        found = next((name for name in (first, *others) if name in header), None)
        if found is not None:
            header[header.index(found)] = first
    return header


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


def span(start: str, end: str) -> tuple[float, float]:
    """Returns two times in seconds. Raises ValueError unless the first comes before the second."""
    times = seconds(start), seconds(end)
    if times[1] <= times[0]:
        raise ValueError(f"end {times[1]} is not after start {times[0]}")
    return times


def seconds(value: str) -> float:
    """Returns the seconds of a time such as 75.5, 01:15.5 or 00:01:15,500. Raises ValueError if it is none."""
    clock = _CLOCK.fullmatch(value.strip())
    try:
        if clock is None:
            number = float(value)
        else:
            hours, minutes, rest = clock.groups()
            number = round(int(hours or 0) * 3600 + int(minutes) * 60 + float(rest.replace(",", ".")), 6)
    except ValueError:
        raise ValueError(f"{value[:40]!r} is not a number of seconds") from None
    if not math.isfinite(number) or number < 0:
        raise ValueError(f"{value[:40]!r} is not a time in a video")
    return number
