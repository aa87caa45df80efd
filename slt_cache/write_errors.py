"""What stops a write, in one line: the cause, whatever library wrote, the free space, and what is kept."""

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slt_cache.errors import InputError, SltCacheError

USERS_CHOICE = frozenset(
    {
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.EEXIST,
        errno.EISDIR,
        errno.ENOTDIR,
        errno.ENAMETOOLONG,
        errno.ELOOP,
    }
)
"""Errors of a place that was badly chosen; the others are the machine's."""
OS_ERROR = re.compile(r"\(os error (\d+)\)")
"""How libraries written in Rust (safetensors, tokenizers) report a failed write."""
TORCH_WRITER = ("inline_container.cc", "iostream error")
"""What torch's own writer says of a failed write, without its cause."""


@contextmanager
def write_errors(path: Path, kept: str | None = None) -> Iterator[None]:
    """Turns the errors of whatever library writes `path` in the block into one line: what was being written, why it
    failed, how much space is free, and what is kept (of `path` itself, unless `kept` says it)."""
    try:
        yield
    except SltCacheError:
        raise
    except Exception as error:
        cause = _write_error(error, path)
        if cause is None:
            raise
        reason = cause.strerror or str(cause)
        if isinstance(cause.filename, str) and not Path(cause.filename).absolute().is_relative_to(
            path.parent.absolute()
        ):
            raise SltCacheError(f"{cause.filename}: {reason}; {path} was not written.") from error
        if cause.errno in USERS_CHOICE:
            raise InputError(f"{path}: cannot be written ({reason}). Choose another place.") from error
        if kept is None:
            kept = "its previous version is kept" if path.exists() else "what was finished before is kept"
        raise SltCacheError(
            f"{path}: could not be written ({reason}); {free_space(path)} are free, and {kept}. "
            "Free some space or choose another place, then run the same command again."
        ) from error


def _write_error(error: BaseException, path: Path) -> OSError | None:
    """The system's error that a library has failed for, or None if `error` does not come from writing."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno is not None:
            return seen
        if found := OS_ERROR.search(str(seen)):
            number = int(found[1])
            return OSError(number, os.strerror(number))
        seen = seen.__cause__ or seen.__context__
    if isinstance(error, OSError) or any(words in str(error) for words in TORCH_WRITER):
        return _tried(_existing(path)) or OSError(errno.EIO, str(error))
    return None


def _tried(folder: Path) -> OSError | None:
    """What the system says to a megabyte more."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(1_000_000))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error
    return None


def _existing(path: Path) -> Path:
    """The nearest folder above `path` that exists."""
    return next(folder for folder in path.absolute().parents if folder.is_dir())


def free_space(path: Path) -> str:
    """Of the disk that has `path`, or would have it, in words."""
    return size_text(shutil.disk_usage(_existing(path)).free)


def size_text(size: float) -> str:
    """A number of bytes, in words."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.1f} GB"
