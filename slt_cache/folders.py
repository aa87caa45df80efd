"""Folders that are replaced whole, by one rename, and what a kill between two renames has left."""

import ctypes
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path

TEMPORARY = ".tmp"
"""Suffix of what is not whole yet; may be deleted whenever nothing runs."""


AT_FDCWD, RENAME_EXCHANGE = -100, 2
"""Of linux/fcntl.h and linux/fs.h; macOS has the same number for its RENAME_SWAP."""


def _stepped_aside(path: Path) -> Path:
    return path.with_name(f"{path.name}.old{TEMPORARY}")


def restore(path: Path) -> None:
    """Undoes a replacement that a kill stopped between its two renames."""
    old = _stepped_aside(path)
    if old.exists() and not path.exists():
        old.rename(path)
    remove(old)


def replace_folder(new: Path, path: Path) -> None:
    """Swaps the two folders in one step, so that readers always find a whole one. On a system or file system that
    cannot, the old one steps aside first and comes back if the new one fails."""
    if not path.exists():
        new.rename(path)
        return
    if _exchange(new, path):
        remove(new)  # the old folder, which has that name now
        return
    old = _stepped_aside(path)
    path.rename(old)
    try:
        new.rename(path)
    except BaseException:
        old.rename(path)
        raise
    remove(old)


def _exchange(one: Path, other: Path) -> bool:
    """Swaps the names of two folders at once; False if this system, or this file system (many network ones), cannot."""
    if os.name != "posix":
        return False
    libc = ctypes.CDLL(None)
    sys.audit("os.rename", str(one), str(other), -1, -1)  # as Python's own rename: tests kill processes at such moments
    names = os.fsencode(one), os.fsencode(other)
    if hasattr(libc, "renameat2"):  # Linux
        return bool(libc.renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE) == 0)
    if hasattr(libc, "renamex_np"):  # macOS
        return bool(libc.renamex_np(*names, RENAME_EXCHANGE) == 0)
    return False


def has_stepped_aside(path: Path) -> bool:
    """Whether a kill between the two renames of a replacement has left nothing at `path`."""
    return _stepped_aside(path).exists() and not path.exists()


def move_into_place(new: Path, path: Path) -> None:
    """Gives a whole file or folder the name `path`, in the place of what has it now. After a kill, `new` may hold what
    was at `path` before, or, if it is still the new one, the same call completes the move."""
    restore(path)
    if new.is_dir():
        replace_folder(new, path)
    else:
        new.replace(path)
    sync_folder(path.parent)


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()


def sync_folder(path: Path) -> None:
    """A rename is on disk once its folder is; where folders cannot be synced (Windows), the system does it later."""
    with suppress(OSError):
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
