"""Tab-separated tables that users write by hand, with a spreadsheet or with pandas: header and rows out, and what looks
wrong about them. The only columns known here are the id, the split and the sentence, which every table of clips has.

A `"` in a sentence is a character like any other. Only if a whole file is written with the quotes of csv, as
spreadsheets and pandas do for sentences with quotes in them, are these quotes removed; otherwise values that look
quoted are reported."""

import codecs
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from slt_cache.corpora.base import SPLITS, no_such_split
from slt_cache.corpora.characters import existing, is_there, nfc, normalized
from slt_cache.corpora.header import require_columns
from slt_cache.errors import InputError

MAX_LINES = 10
"""Line numbers in a message."""
_FIELDS = {
    separator: re.compile(rf'(?:"([^"]*(?:""[^"]*)*)"|([^"{separator}\n]*))({re.escape(separator)}|\n|\Z)')
    for separator in "\t|"
}
_LIKE_CSV = re.compile(r'".*(?:""|\\").*"|"(?:[^"]*)"')


@dataclass(frozen=True)
class Rows:
    """The lines of a table, including the header."""

    numbered: Iterable[tuple[int, list[str]]]
    """Number of the first line of each row, and its values; may be iterated several times."""
    unquoted: list[int]
    """Lines on which the quotes of csv were removed; none unless the whole file is written with them."""
    doubtful: list[int]
    """Lines with values that look quoted, and were kept as they are."""


def read_text(path: Path, what: str = "") -> str:
    """Returns the text of a UTF-8 file, without a byte order mark, its lines ended by line feeds. `what` comes before
    its name in errors. Raises InputError."""
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{what}{path}: there is no such file. Name a text file.") from error
    except OSError as error:
        raise InputError(f"{what}{path}: cannot be read ({error.strerror}).") from error
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise InputError(
            f"{what}{path}, line 1: not UTF-8 but UTF-16 text, as Excel's 'Unicode Text' is. Save it as UTF-8."
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = _one_line_end(error.object[: error.start].decode("utf-8")).count("\n") + 1
        raise InputError(
            f"{what}{path}, line {line}: not UTF-8 (byte {error.object[error.start]:#04x}). Save it as UTF-8."
        ) from error
    return _one_line_end(text)


def _one_line_end(text: str) -> str:
    """Converts the line ends of Windows and of old Macs to line feeds."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


class _Lines:
    """Rows of a text in which quotes mean nothing, split while they are iterated: a table may have a million."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        number, start = 1, 0
        while (end := self.text.find("\n", start)) >= 0:  # not splitlines: a sentence may hold U+2028
            yield number, self.text[start:end].split("\t")
            number, start = number + 1, end + 1
        yield number, self.text[start:].split("\t")


def rows_as_they_are(text: str) -> Rows:
    """Returns the rows of a text in which quotes mean nothing."""
    return Rows(_Lines(text), [], [])


def rows_of_own(text: str) -> Rows:
    """Returns the rows of a text that a user wrote, without the quotes of csv if all of it is written with them."""
    plain = rows_as_they_are(text)
    if '"' not in text:
        return plain
    fields = _as_csv(text)
    if fields is not None and _is_written_as_csv(fields):
        numbered = [(number, [value for value, _ in row]) for number, row in fields]
        return Rows(numbered, [number for number, row in fields if any(quoted for _, quoted in row)], [])
    doubtful = [number for number, row in plain.numbered if any(map(_looks_quoted, row))]
    return Rows(plain.numbered, [], doubtful)


def _looks_quoted(value: str) -> bool:
    return '"' in value and _LIKE_CSV.fullmatch(value.strip()) is not None


def read_rows(path: Path, required: Sequence[str], known: Sequence[str], as_they_are: bool = False) -> Rows:
    """Reads a user's table, or with `as_they_are` one that was written here, in which quotes mean nothing. Raises
    InputError unless its header names every required column."""
    text = read_text(path)
    rows = rows_as_they_are(text) if as_they_are else rows_of_own(text)
    _, header = next(iter(rows.numbered))
    require_columns(path, header, required, known)
    return rows


def lines_of_own(text: str, columns: int = 1, separator: str = "\t") -> Rows:
    """Returns the lines of a text with one sentence per line, without the quotes of csv if all of it is quoted that
    way. With two `columns` and `|` as separator, lines of `id|sentence`, in which further bars belong to the
    sentence."""
    plain = [(number, line.split(separator, columns - 1)) for number, line in enumerate(text.split("\n"), start=1)]
    if '"' not in text:
        return Rows(plain, [], [])
    fields = _as_csv(text, separator)
    if fields is not None and all(len(row) == columns and not any("\n" in one for one, _ in row) for _, row in fields):
        filled = [row[-1] for _, row in fields if row[-1][0]]
        if all(quoted for _, quoted in filled) or _quotes_are_of_csv(filled, separator):
            unquoted = [number for number, row in fields if any(quoted for _, quoted in row)]
            return Rows([(number, [one for one, _ in row]) for number, row in fields], unquoted, [])
    return Rows(plain, [], [number for number, row in plain if any(map(_looks_quoted, row))])


_CsvRow = list[tuple[str, bool]]
"""Each value, and whether it was quoted."""


def _as_csv(text: str, separator: str = "\t") -> list[tuple[int, _CsvRow]] | None:
    """Returns the rows as a csv reader sees them; None if there is a quote where csv allows none."""
    rows: list[tuple[int, _CsvRow]] = []
    row: _CsvRow = []
    number, begun, place = 1, 1, 0
    while True:
        found = _FIELDS[separator].match(text, place)
        if found is None:
            return None
        quoted, bare, end = found.groups()
        row.append((bare, False) if quoted is None else (quoted.replace('""', '"'), True))
        number += found.group().count("\n")
        place = found.end()
        if end != separator:
            rows.append((begun, row))
            row, begun = [], number
        if not end:
            return rows


def _is_written_as_csv(rows: Sequence[tuple[int, _CsvRow]]) -> bool:
    """Returns whether every row has as many values as the header, and there is evidence that the quotes are those of
    csv: quotes within quotes, a tab or line break, a quoted header, a whole column of quoted values, or, as Excel does
    it, quotes around just the values with commas."""
    columns = len(rows[0][1])
    filled = [row for _, row in rows if row != [("", False)]]
    if any(len(row) != columns for row in filled):
        return False
    values = [value for row in filled for value in row]
    if any(quoted and _swallows_rows(value, columns) for value, quoted in values):
        return False
    columns_quoted = [all(quoted for _, quoted in column) for column in zip(*filled[1:], strict=True)]
    if len(filled) > 2 and any(columns_quoted):
        return True
    return any(quoted for _, quoted in rows[0][1]) or _quotes_are_of_csv(values)


def _quotes_are_of_csv(values: Sequence[tuple[str, bool]], separator: str = "\t") -> bool:
    quoted = [value for value, is_quoted in values if is_quoted]
    if any(set(value) & {'"', "\n", separator} for value in quoted):
        return True
    return all("," in value for value in quoted) and not any(
        "," in value for value, is_quoted in values if not is_quoted
    )


def _swallows_rows(value: str, columns: int) -> bool:
    """Returns whether a quoted value contains whole rows: then its quotes belong to two sentences far apart."""
    return any(line.count("\t") >= columns - 1 for line in value.split("\n")) and columns > 1


def remarks(rows: Rows) -> list[str]:
    """Returns messages about quotes that were removed or kept."""
    found = []
    if rows.unquoted:
        found.append(f"the quotes of csv were removed, on {lines_named(rows.unquoted)}")
    if rows.doubtful:
        found.append(f"values look quoted and were kept as they are, on {lines_named(rows.doubtful)}")
    return found


def lines_named(numbers: Sequence[int]) -> str:
    """Returns `line 3`, or `lines` and the first of several numbers."""
    more = f" and {len(numbers) - MAX_LINES:,} more" if len(numbers) > MAX_LINES else ""
    return f"line{'s'[: len(numbers) - 1]} {', '.join(map(str, numbers[:MAX_LINES]))}{more}"


def own_path(name: str, folder: Path) -> Path:
    """Returns the path that a user's table names: relative to the table's folder, absolute, or beginning with `~`; in
    the Unicode form that it has on disk. Windows' `\\` separates folders unless it is part of an existing name;
    whitespace around a name, and invisible characters in it, are dropped in the same way."""
    found = _path(name, folder)
    plain = normalized(name).strip()
    others = [other for other in (plain, name.replace("\\", "/"), plain.replace("\\", "/")) if other not in ("", name)]
    if not others or is_there(found):  # without others nothing is asked of the disk: a corpus may have many clips
        return found
    return next((path for other in others if is_there(path := _path(other, folder))), found)


def _path(name: str, folder: Path) -> Path:
    path = Path(name)
    if name.startswith("~"):
        with suppress(RuntimeError):  # no such user: then it is a name like any other
            path = path.expanduser()
    return existing(folder / path)


def values_by_column(header: Sequence[str], values: Sequence[str]) -> dict[str, str]:
    """Returns the values of one line by column, the id in its composed form. Raises ValueError, with the reason, if
    there are too few or too many values, or if the id, the split or the text is invalid."""
    if len(values) != len(header):
        raise ValueError(f"{len(values)} columns, but the header has {len(header)}")
    row = dict(zip(header, values, strict=True))
    row["id"] = nfc(row["id"])
    if not normalized(row["id"]).strip():
        raise ValueError("the id is empty")
    if row["split"] not in SPLITS:
        raise ValueError(f"split {no_such_split(row['split'])}")
    if not normalized(row["text"]).strip():
        raise ValueError("the text is empty")
    return row


def read_sentences(path: Path, option: str, remark: Callable[[str], None]) -> list[str]:
    """Returns the lines of a file, stripped, without empty ones; and without the quotes of csv if all of the file is
    quoted that way. `option` named the file, for errors; `remark` is called with anything odd.

    Raises InputError if the file is missing, not UTF-8 or empty."""
    if not path.is_file():
        raise InputError(f"{option} {path}: there is no such file. Name a text file with one sentence per line.")
    rows = lines_of_own(read_text(path, f"{option} "))
    for line in remarks(rows):
        remark(f"{option} {path}: {line}")
    sentences = [line.strip() for _, [line] in rows.numbered if line.strip()]
    if not sentences:
        raise InputError(f"{option} {path}: the file is empty. Write one sentence per line.")
    return sentences
