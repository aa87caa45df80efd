"""Atomic replacement of folders by a rename, and recovery after a kill between two renames."""

import ctypes
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path

TEMPORARY = ".tmp"
"""Suffix of incomplete files and folders, which may be deleted whenever nothing runs."""


AT_FDCWD, RENAME_EXCHANGE = -100, 2
"""Constants of linux/fcntl.h and linux/fs.h; macOS has the same number for its RENAME_SWAP."""


def _stepped_aside(path: Path) -> Path:
    return path.with_name(f"{path.name}.old{TEMPORARY}")


def restore(path: Path) -> None:
    """Undoes a replacement that was killed between its two renames."""
    old = _stepped_aside(path)
    if old.exists() and not path.exists():
        old.rename(path)
    remove(old)


def replace_folder(new: Path, path: Path) -> None:
    """Swaps two folders atomically, so that readers always find a complete one. If the system cannot, the old one steps
    aside first and comes back if the new one fails."""
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
    """Swaps the names of two folders atomically; returns False if the system or file system (many network ones)
    cannot."""
    if os.name != "posix":
        return False
    libc = ctypes.CDLL(None)
    sys.audit("os.rename", str(one), str(other), -1, -1)  # like Python's own rename: tests kill processes at this point
    names = os.fsencode(one), os.fsencode(other)
    if hasattr(libc, "renameat2"):  # Linux
        return bool(libc.renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE) == 0)
    if hasattr(libc, "renamex_np"):  # macOS
        return bool(libc.renamex_np(*names, RENAME_EXCHANGE) == 0)
    return False


def has_stepped_aside(path: Path) -> bool:
    """Returns whether a kill between the two renames left nothing at `path`."""
    return _stepped_aside(path).exists() and not path.exists()


def move_into_place(new: Path, path: Path) -> None:
    """Moves a complete file or folder to `path`, replacing what is there. After a kill, `new` may hold the old content
    of `path`; if it is still the new one, repeating the call completes the move."""
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
    """Syncs a folder, and with it renames inside it, to disk; where folders cannot be synced (Windows), the system does
    so later."""
    with suppress(OSError):
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
