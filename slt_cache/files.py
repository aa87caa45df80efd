"""Whole files or none: everything is written under a temporary name and renamed when it is on disk."""

import ctypes
import errno
import hashlib
import json
import os
import re
import shutil
import socket
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import MISSING, fields
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, TypeVar

from slt_cache.errors import InputError, SltCacheError
from slt_cache.write_errors import write_errors

TEMPORARY = ".tmp"
"""Suffix of what is not whole yet; may be deleted whenever nothing runs."""
MAX_JSON = 256 << 20
"""Bytes of a JSON file that is read; the largest that is written or known, a tokenizer of 250,000 pieces, has 17 MB."""

T = TypeVar("T")


ABANDONED = 3600
"""Seconds without a change after which the temporary file of another machine's process is deleted."""
PRIVATE = 0o600
AT_FDCWD, RENAME_EXCHANGE = -100, 2
"""Of linux/fcntl.h and linux/fs.h; macOS has the same number for its RENAME_SWAP."""
UMASK = os.umask(0)
os.umask(UMASK)


@contextmanager
def replacing(path: Path, sweep: bool = True) -> Iterator[Path]:
    """Gives a temporary path to write a file or a folder at, which replaces `path` once the block ends well.

    A failed block removes what it wrote and leaves `path` as it was. The temporary name is this process's own, so two
    processes that write the same file do not disturb each other and the last one wins. `sweep` deletes first what
    killed processes left; a caller that writes thousands of files into one folder sweeps it once instead."""
    temporary = temporary_path(path)
    try:
        with write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            restore(path)
            _remove(temporary)
            if sweep:
                remove_abandoned(path.parent, path.name)
            yield temporary
            if temporary.is_dir():
                for file in temporary.rglob("*"):
                    if file.is_file():
                        _sync(file)
                _replace_folder(temporary, path)
            else:
                _sync(temporary)
                temporary.replace(path)
            _sync_folder(path.parent)
    finally:
        with suppress(OSError):  # a read-only file system refuses to delete what is not there, too
            _remove(temporary)


def temporary_path(path: Path) -> Path:
    """A name for what is to become `path`, this process's own; `remove_abandoned` finds it after a kill."""
    return path.with_name(f"{path.name}.{os.getpid()}-{_machine()}{TEMPORARY}")


@cache
def _machine() -> str:
    """Eight characters that stand for this machine or container, within which process numbers are unique."""
    try:
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:  # not Linux
        space = ""
    return hashlib.sha256(f"{socket.gethostname()} {space}".encode()).hexdigest()[:8]


def remove_abandoned(folder: Path, name: str | None = None) -> None:
    """Deletes the temporary files of one name, or of all, that killed processes left in a folder."""
    wanted = re.compile(
        (".+?" if name is None else re.escape(name)) + rf"(?:\.(\d+)-([0-9a-f]{{8}}))?{re.escape(TEMPORARY)}"
    )
    for path in list(folder.iterdir()):
        found = wanted.fullmatch(path.name)
        if found and _is_abandoned(path, *found.groups()):
            _remove(path)


def _is_abandoned(path: Path, process: str | None, machine: str | None) -> bool:
    if process is None:
        return not path.name.endswith(f".old{TEMPORARY}")
    if machine == _machine():
        return not _is_alive(int(process))
    with suppress(FileNotFoundError):
        changed = max(one.stat().st_mtime for one in [path, *path.rglob("*")])
        return time.time() - changed > ABANDONED
    return False


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return not _is_zombie(process)


def _is_zombie(process: int) -> bool:
    """Whether a process has ended but was not collected, as in containers whose first process collects no orphans."""
    try:
        status = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:  # gone by now, or not Linux
        return False
    return status.rpartition(")")[2].split()[:1] == ["Z"]


@contextmanager
def rewriting(folder: Path) -> Iterator[Path]:
    """Gives a copy of a folder, in which some files are to be replaced, and puts it in the folder's place once the
    block ends well: all of them change at once, or none. Files that stay are hard links, where there are such.

    Only for blocks that replace files: what is written into one changes the original too."""
    with replacing(folder) as temporary:
        shutil.copytree(folder, temporary, copy_function=_link_or_copy)
        yield temporary


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _stepped_aside(path: Path) -> Path:
    return path.with_name(f"{path.name}.old{TEMPORARY}")


def restore(path: Path) -> None:
    """Undoes a replacement that a kill stopped between its two renames."""
    old = _stepped_aside(path)
    if old.exists() and not path.exists():
        old.rename(path)
    _remove(old)


def _replace_folder(new: Path, path: Path) -> None:
    """Swaps the two folders in one step, so that readers always find a whole one. On a system or file system that
    cannot, the old one steps aside first and comes back if the new one fails."""
    if not path.exists():
        new.rename(path)
        return
    if _exchange(new, path):
        _remove(new)  # the old folder, which has that name now
        return
    old = _stepped_aside(path)
    path.rename(old)
    try:
        new.rename(path)
    except BaseException:
        old.rename(path)
        raise
    _remove(old)


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
        _replace_folder(new, path)
    else:
        new.replace(path)
    _sync_folder(path.parent)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()


def _sync(path: Path) -> None:
    """Has the file on disk, with the mode of any other file: some libraries keep theirs to the user alone."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    if stat.S_IMODE(path.stat().st_mode) == PRIVATE:
        with suppress(OSError):  # of file systems that have no modes
            path.chmod(0o666 & ~UMASK)


def _sync_folder(path: Path) -> None:
    """A rename is on disk once its folder is; where folders cannot be synced (Windows), the system does it later."""
    with suppress(OSError):
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Holds a lock file while the block runs; the system gives it back however the process ends.

    Raises InputError that names the holder if another process, on whatever machine of a shared file system, has it."""
    file = _locked(path, what)
    try:
        with write_errors(path):
            os.ftruncate(file, 0)
            now = time.strftime("%Y-%m-%d %H:%M:%S")
            os.write(file, f"process {os.getpid()} on {socket.gethostname()}, since {now}\n".encode())
        yield
    finally:
        with suppress(OSError):
            path.unlink()
        os.close(file)


def _locked(path: Path, what: str) -> int:
    """An open lock file that this process holds."""
    import fcntl

    while True:
        with write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # not flock, which child processes would keep
        except OSError as error:
            holder = os.read(file, 1000).decode("utf-8", "replace").strip() or "another process"
            os.close(file)
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise SltCacheError(
                    f"{path}: cannot be locked ({error.strerror}); choose a file system with locks."
                ) from error
            raise InputError(
                f"{what} is being written by {holder}. Wait until it is done, or write elsewhere."
            ) from None
        with suppress(FileNotFoundError):
            if os.path.samestat(path.stat(), os.fstat(file)):
                return file
        os.close(file)  # its holder deleted it meanwhile


def require_writable(folder: Path) -> None:
    """Makes the folder. Raises InputError if no file can be written there, SltCacheError if its disk is full."""
    with write_errors(folder, "nothing was begun"):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0")
            file.flush()


@contextmanager
def scratch_folder(parent: Path | None = None) -> Iterator[Path]:
    """A temporary folder, deleted once the block ends; on the disk for temporary files (TMPDIR) unless `parent` is
    given. Raises SltCacheError, which names the disk, if there is no room for it or for what the block writes."""
    try:
        folder = tempfile.TemporaryDirectory(prefix="slt-cache-", dir=parent)
    except OSError as error:
        reason = error.strerror or str(error)
        raise SltCacheError(
            f"no temporary folder can be made ({reason}). Free some space, or set TMPDIR to a folder on another disk."
        ) from error
    with folder as name, write_errors(Path(name) / "temporary files", "nothing else was changed"):
        yield Path(name)


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes readable JSON, whole or not at all."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


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
