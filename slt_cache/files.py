"""Atomic writes: everything is written under a temporary name and renamed once it is on disk."""

import hashlib
import json
import os
import re
import shutil
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from slt_cache.errors import SltCacheError
from slt_cache.folders import TEMPORARY, remove, replace_folder, restore, sync_folder
from slt_cache.write_errors import write_errors

ABANDONED = 3600
"""Seconds without change after which another machine's temporary file is deleted."""


PRIVATE = 0o600


UMASK = os.umask(0)
os.umask(UMASK)


@contextmanager
def replacing(path: Path, sweep: bool = True) -> Iterator[Path]:
    """Yields a temporary path for a file or folder that replaces `path` once the block ends well.

    A failed block removes what it wrote and leaves `path` unchanged. The temporary name is unique to this process: of
    two that write the same file, the last wins. `sweep` first deletes what killed processes left; a caller that writes
    thousands of files into one folder sweeps once instead."""
    temporary = temporary_path(path)
    try:
        with write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            restore(path)
            remove(temporary)
            if sweep:
                remove_abandoned(path.parent, path.name)
            yield temporary
            if temporary.is_dir():
                for file in temporary.rglob("*"):
                    if file.is_file():
                        _sync(file)
                replace_folder(temporary, path)
            else:
                _sync(temporary)
                temporary.replace(path)
            sync_folder(path.parent)
    finally:
        with suppress(OSError):  # a read-only file system refuses even to delete nothing
            remove(temporary)


def temporary_path(path: Path) -> Path:
    """Returns this process's temporary name for `path`; `remove_abandoned` finds it after a kill."""
    return path.with_name(f"{path.name}.{os.getpid()}-{_machine()}{TEMPORARY}")


@cache
def _machine() -> str:
    """Returns eight characters that identify this machine or container, within which process ids are unique."""
    try:
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:  # not Linux
        space = ""
    return hashlib.sha256(f"{socket.gethostname()} {space}".encode()).hexdigest()[:8]


def remove_abandoned(folder: Path, name: str | None = None) -> None:
    """Deletes the temporary files, of one name or of all, that killed processes left in a folder."""
    wanted = re.compile(
        (".+?" if name is None else re.escape(name)) + rf"(?:\.(\d+)-([0-9a-f]{{8}}))?{re.escape(TEMPORARY)}"
    )
    for path in list(folder.iterdir()):
        found = wanted.fullmatch(path.name)
        if found and _is_abandoned(path, *found.groups()):
            remove(path)


def _is_abandoned(path: Path, process: str | None, machine: str | None) -> bool:
    if process is None:
        return not path.name.endswith(f".old{TEMPORARY}")
    if machine == _machine():
        return not _is_alive(int(process))
    with suppress(FileNotFoundError):
        changed = max(one.stat().st_mtime for one in [path, *path.rglob("*")])
        return _time_of(path.parent) - changed > ABANDONED
    return False


def _time_of(folder: Path) -> float:
    """Returns the time by the clock of a folder's file system, which may be that of another machine."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            return os.fstat(file.fileno()).st_mtime
    except OSError:  # full
        return time.time()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return not _is_zombie(process)


def _is_zombie(process: int) -> bool:
    """Returns whether a process has ended uncollected, as in containers whose first process collects no orphans."""
    try:
        status = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:  # gone by now, or not Linux
        return False
    return status.rpartition(")")[2].split()[:1] == ["Z"]


@contextmanager
def rewriting(folder: Path) -> Iterator[Path]:
    """Yields a copy of a folder in which files can be replaced; once the block ends well it replaces the original,
    atomically. Unchanged files are hard links if possible.

    Only replace files: writing into one changes the original too."""
    with replacing(folder) as temporary:
        link_or_copy(folder, temporary)
        yield temporary


def link_or_copy(source: Path, target: Path) -> None:
    """Links a file, or every file of a folder, under a second name, or copies it where hard links are impossible. Does
    nothing if the source does not exist. Only for files that are replaced, never written into."""
    if source.is_dir():
        shutil.copytree(source, target, copy_function=_link_or_copy)
    elif source.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        _link_or_copy(str(source), str(target))


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _sync(path: Path) -> None:
    """Flushes the file to disk and gives it the usual mode, since some libraries make theirs private."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    if stat.S_IMODE(path.stat().st_mode) == PRIVATE:
        with suppress(OSError):  # file systems without modes
            path.chmod(0o666 & ~UMASK)


@contextmanager
def scratch_folder(parent: Path | None = None) -> Iterator[Path]:
    """Yields a temporary folder, deleted once the block ends; on the disk for temporary files (TMPDIR) unless `parent`
    is given. Raises SltCacheError, naming the disk, if there is no room for it or its content."""
    try:
        folder = tempfile.TemporaryDirectory(prefix="slt-cache-", dir=parent)
    except OSError as error:
        reason = error.strerror or str(error)
        raise SltCacheError(
            f"cannot make a temporary folder ({reason}). Free some space, or set TMPDIR to a folder on another disk."
        ) from error
    with folder as name, write_errors(Path(name) / "temporary files", "nothing else was changed"):
        yield Path(name)


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes readable JSON atomically."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")
