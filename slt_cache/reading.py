"""Text and JSON files in, checked values out; each error names the file and what to do about it."""

import json
from dataclasses import MISSING, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from slt_cache.errors import InputError

MAX_JSON = 256 << 20
"""Bytes of a JSON file that is read; the largest that is written or known, a tokenizer of 250,000 pieces, has 17 MB."""


T = TypeVar("T")


def read_json(path: Path) -> Any:
    """Reads what `write_json` wrote; InputError where it is missing or broken."""
    return _json_of(path, read_text(path, MAX_JSON))


def read_object(path: Path) -> dict[str, Any]:
    """The same, of a file that must hold a JSON object."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise InputError(f"{path}: damaged: {type(value).__name__} where a JSON object belongs. {RESTORE}")
    return value


def read_as(path: Path, kind: type[T]) -> T:
    """A JSON file as a dataclass. Raises InputError that names a key which is missing, unknown or of another type."""
    text = read_text(path, MAX_JSON)
    _json_of(path, text)
    try:
        return parsed(kind, text)
    except ValueError as error:
        raise InputError(f"{path}: damaged, or written by another version: {error}. {RESTORE}") from error


RESTORE = "Put back a copy of it, or make it again (--restart of the command that made it)."
"""What to do about a file of a run that is damaged."""


def read_text(path: Path, limit: int | None = None) -> str:
    """UTF-8 text. Raises InputError where the file is missing, cannot be read, has more bytes than the limit, or is not
    UTF-8."""
    try:
        size = path.stat().st_size
        if limit is not None and size > limit:
            raise InputError(f"{path}: {size:,} bytes, and no such file has more than {limit:,}. {RESTORE}")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: damaged: not UTF-8 text (byte {error.start}). {RESTORE}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error


def _json_of(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # numbers of too many digits and too many brackets among them
        raise InputError(f"{path}: damaged or cut off: not whole JSON ({first_line(error)}). {RESTORE}") from error


def parsed(kind: type[T], text: str) -> T:
    """JSON text as a dataclass. Raises ValueError that names a key which is missing, unknown or of another type."""
    try:
        values = json.loads(text)
    except RecursionError as error:
        raise ValueError("too many brackets") from error
    if not isinstance(values, dict):
        raise ValueError(f"{type(values).__name__} where an object belongs")
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
    from pydantic import ValidationError  # here: no file that is read at --help needs it

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
    """The beginning of what an error says; of one that says nothing, its name."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:160]
