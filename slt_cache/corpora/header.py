"""The header of a table that users write: whether it has the required columns, and what it seems to have instead."""

import difflib
from collections.abc import Sequence
from pathlib import Path

from slt_cache.errors import InputError

SEPARATORS = {",": "commas", ";": "semicolons", "|": "bars", " ": "spaces"}
OTHER_NAMES = {
    "id": ("name", "clip", "clip_id", "sentence_id", "sentence_name", "uid", "key"),
    "split": ("set", "subset", "partition", "fold"),
    "video": ("path", "file", "filename", "file_name", "video_path", "video_name", "video_id", "clip_path"),
    "start": ("begin", "from", "start_time", "onset", "start_realigned"),
    "end": ("stop", "to", "end_time", "offset", "end_realigned"),
    "text": ("sentence", "translation", "transcript", "transcription", "label", "caption", "target", "subtitle"),
    "signer": ("speaker", "person", "subject"),
}
"""Names of these columns in other tables."""
MAX_SHOWN = 120
"""Characters of a wrong header in a message."""


def require_columns(path: Path, header: Sequence[str], required: Sequence[str], known: Sequence[str]) -> None:
    """Raises InputError that quotes the first line, unless it names every required column once."""
    twice = sorted({column for column in header if column in known and header.count(column) > 1})
    if twice:
        raise InputError(f"{path}: the header names {', '.join(twice)} twice. Give each column its own name.")
    missing = [column for column in required if column not in header]
    if missing:
        raise InputError(
            f"{path}: the header lacks {', '.join(missing)}. {_what_was_found(header, missing)}"
            f"It must be tab-separated: {' '.join(known)}"
        )


def _what_was_found(header: Sequence[str], missing: Sequence[str]) -> str:
    line = "\t".join(header)
    if not line.strip():
        return "The first line is empty. "
    separated = _other_separator(line, missing)
    if separated is not None:
        return f"Its first line is separated by {separated}: {_short(line)!r}. "
    renamed = [f"{found!r} to {column}" for column in missing if (found := _other_name(column, header)) is not None]
    hint = f"; change {', '.join(renamed)}" if renamed else ""
    return f"Found: {_short(', '.join(map(repr, header)))}{hint}. "


def _other_separator(line: str, missing: Sequence[str]) -> str | None:
    if "\t" in line:
        return None
    for separator, name in SEPARATORS.items():
        names = [part.strip(' "').lower() for part in line.split(separator)]
        if len(names) > 1 and any(column in names for column in missing):
            return name
    return None


def _other_name(column: str, header: Sequence[str]) -> str | None:
    plain = {name.strip(' "').lower(): name for name in header}
    for other in (column, *OTHER_NAMES.get(column, ())):
        if other in plain:
            return plain[other]
    near = difflib.get_close_matches(column, plain, n=1, cutoff=0.75)
    return plain[near[0]] if near else None


def _short(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
