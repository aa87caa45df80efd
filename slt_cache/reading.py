"""Reading of text and JSON files into checked values; errors name the file and what to do about it."""

import json
from dataclasses import MISSING, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from slt_cache.errors import InputError

MAX_JSON = 256 << 20
"""Largest JSON file that is read, in bytes; the largest known, a tokenizer of 250,000 tokens, has 17 MB."""


T = TypeVar("T")


def read_json(path: Path) -> Any:
    """Reads JSON that `write_json` wrote. Raises InputError if it is missing or damaged."""
    return _json_of(path, read_text(path, MAX_JSON))


def read_object(path: Path) -> dict[str, Any]:
    """Reads a file that must hold a JSON object. Raises InputError like `read_json`."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise InputError(f"{path}: damaged: {type(value).__name__} instead of a JSON object. {RESTORE}")
    return value


def read_as(path: Path, kind: type[T]) -> T:
    """Reads a JSON file as a dataclass. Raises InputError, naming a key that is missing, unknown or of the wrong
    type."""
    text = read_text(path, MAX_JSON)
    _json_of(path, text)
    try:
        return parsed(kind, text)
    except ValueError as error:
        raise InputError(f"{path}: damaged, or written by another version: {error}. {RESTORE}") from error


RESTORE = "Restore a copy of it, or make it again (--restart of the command that made it)."
"""Advice for a damaged file of a run."""


def read_text(path: Path, limit: int | None = None) -> str:
    """Reads UTF-8 text. Raises InputError if the file is missing, unreadable, larger than the limit in bytes, or not
    UTF-8."""
    try:
        size = path.stat().st_size
        if limit is not None and size > limit:
            raise InputError(f"{path}: {size:,} bytes, more than any such file has ({limit:,}). {RESTORE}")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: damaged: not UTF-8 text (byte {error.start}). {RESTORE}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error


def _json_of(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # including numbers of too many digits and too many brackets
        raise InputError(f"{path}: damaged or truncated: not complete JSON ({first_line(error)}). {RESTORE}") from error


def parsed(kind: type[T], text: str) -> T:
    """Parses JSON text as a dataclass. Raises ValueError, naming a key that is missing, unknown or of the wrong
    type."""
    try:
        values = json.loads(text)
    except RecursionError as error:
        raise ValueError("too many brackets") from error
    if not isinstance(values, dict):
        raise ValueError(f"{type(values).__name__} instead of an object")
    known = {one.name: one for one in fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(values.keys() - known.keys()):
        raise ValueError(f"it has the unknown key {unknown[0][:80]!r}")
    lacking = [
        name
        for name, one in known.items()
        if name not in values and one.default is MISSING and one.default_factory is MISSING
    ]
    if lacking:
        raise ValueError(f"it lacks the key {lacking[0]!r}")
    from pydantic import ValidationError  # here, since --help reads no such file

    try:
        value: T = _adapter(kind).validate_json(text, strict=True)  # type: ignore[arg-type]
        return value
    except ValidationError as error:
        wrong = error.errors()[0]
        name = ".".join(map(str, wrong["loc"]))
        raise ValueError(f"the value of {name!r} is wrong ({wrong['msg']})") from error


@lru_cache
def _adapter(kind: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's message, shortened; its type if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:160]
