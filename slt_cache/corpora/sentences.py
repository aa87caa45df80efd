"""Text without video: a file with one sentence a line."""

from pathlib import Path

from slt_cache.errors import InputError


def read_sentences(path: Path, option: str) -> list[str]:
    """Its lines without blanks at the ends, empty ones left out. `option` is what named the file, for errors.

    Raises InputError where the file is missing, not UTF-8 or empty."""
    if not path.is_file():
        raise InputError(f"{option} {path}: there is no such file. Name a text file, one sentence a line.")
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # not splitlines: a sentence may hold U+2028
    except UnicodeDecodeError as error:
        raise InputError(f"{option} {path}: not UTF-8 (byte {error.start}). Save it as UTF-8.") from error
    sentences = [line.strip() for line in lines if line.strip()]
    if not sentences:
        raise InputError(f"{option} {path}: the file is empty. Write one sentence a line.")
    return sentences
