"""Text without video: a file with one sentence per line."""

from collections.abc import Callable
from pathlib import Path

from slt_cache.corpora.own_table import lines_of_own, read_text, remarks
from slt_cache.errors import InputError


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
