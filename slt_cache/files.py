"""Whole files or none: everything is written under a temporary name and renamed when it is on disk."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from slt_cache.errors import InputError, SltCacheError

TEMPORARY = ".tmp"
"""Suffix of what is not whole yet; may be deleted whenever nothing runs."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path to write a file or a folder at; takes the place of `path` once the block ends well.

    A failed block removes what it wrote and leaves `path` as it was."""
    temporary = path.with_name(f"{path.name}{TEMPORARY}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _restore(path)
        _remove(temporary)
        yield temporary
        if temporary.is_dir():
            for file in temporary.rglob("*"):
                if file.is_file():
                    _sync(file)
            _replace_folder(temporary, path)
        else:
            _sync(temporary)
            temporary.replace(path)
    except OSError as error:
        if isinstance(error, FileExistsError | IsADirectoryError | NotADirectoryError | PermissionError):
            raise InputError(f"{path}: cannot be written ({error.strerror}). Choose another place.") from error
        raise SltCacheError(f"{path}: could not be written ({error}); what stood there before is kept.") from error
    finally:
        _remove(temporary)


def _stepped_aside(path: Path) -> Path:
    return path.with_name(f"{path.name}.old{TEMPORARY}")


def _restore(path: Path) -> None:
    """Undoes a replacement that a kill stopped between its two renames."""
    old = _stepped_aside(path)
    if old.exists() and not path.exists():
        old.rename(path)
    _remove(old)


def _replace_folder(new: Path, path: Path) -> None:
    """Folders cannot be swapped in one step: the old one steps aside first and comes back if the new one fails."""
    if not path.exists():
        new.rename(path)
        return
    old = _stepped_aside(path)
    path.rename(old)
    try:
        new.rename(path)
    except BaseException:
        old.rename(path)
        raise
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes readable JSON, whole or not at all."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """Reads what `write_json` wrote; InputError where it is missing or broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file.") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not whole JSON ({error}). Delete it and run its command again.") from error
