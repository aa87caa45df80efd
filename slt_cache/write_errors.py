"""One-line errors for failed writes: the cause, whichever library wrote, the free space, and what is kept."""

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
"""Error numbers of a badly chosen path; all others are the machine's."""
OS_ERROR = re.compile(r"\(os error (\d+)\)")
"""Pattern of failed writes in libraries written in Rust (safetensors, tokenizers)."""
TORCH_WRITER = ("inline_container.cc", "iostream error")
"""Messages of torch's own writer, which omit the cause."""


@contextmanager
def write_errors(path: Path, kept: str | None = None) -> Iterator[None]:
    """Turns a write error of any library into one line: what was being written, why it failed, the free space, and what
    is kept (of `path` itself, unless `kept` says it)."""
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
            raise InputError(f"{path}: cannot be written ({reason}). Choose another path.") from error
        if kept is None:
            kept = "its previous version is kept" if path.exists() else "what was finished before is kept"
        raise SltCacheError(
            f"{path}: could not be written ({reason}); {free_space(path)} are free, and {kept}. "
            "Free some space or choose another path, then run the same command again."
        ) from error


def _write_error(error: BaseException, path: Path) -> OSError | None:
    """Returns the system error that made a library fail, or None if `error` does not come from writing."""
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
    """Returns the system's error on writing another megabyte, None if it succeeds."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(1_000_000))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error
    return None


def _existing(path: Path) -> Path:
    """Returns the nearest existing folder above `path`."""
    return next(folder for folder in path.absolute().parents if folder.is_dir())


def free_space(path: Path) -> str:
    """Returns the free space of the disk of `path`, in words."""
    return size_text(shutil.disk_usage(_existing(path)).free)


def size_text(size: float) -> str:
    """Formats a number of bytes."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.1f} GB"
