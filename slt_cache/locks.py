"""Locks on folders that one process may write at a time, or a group of processes together, and a check that they are
writable."""

import errno
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from slt_cache.errors import InputError, SltCacheError
from slt_cache.write_errors import write_errors

TURN = 0.2
"""Seconds between two attempts of a process that waits for its turn."""
ATTEMPTS = 10
"""Attempts to create a lock file in a folder that others may be deleting."""


@contextmanager
def exclusive(path: Path, what: str, waits: bool = False) -> Iterator[None]:
    """Holds a lock file while the block runs; the system releases it however the process ends.

    Raises InputError, naming the holder, if another process, on any machine of a shared file system, has it; with
    `waits`, waits for it instead."""
    file = _locked(path, what, alone=True, waits=waits)
    try:
        _name_holder(file, path, this_process())
        yield
    finally:
        with suppress(OSError):
            path.unlink()
        os.close(file)


@contextmanager
def shared(path: Path, what: str) -> Iterator[None]:
    """Holds a lock file together with others while the block runs, so that no process can hold it alone. Raises
    InputError, naming the holder, if one does."""
    file = _locked(path, what, alone=False)
    try:
        _name_holder(file, path, f"processes that joined (--join), the latest of them {this_process()}")
        yield
    finally:
        os.close(file)


class GroupLock:
    """Lock file that one process holds alone, or several together; the system releases it however they end."""

    def __init__(self, path: Path):
        self.path = path
        self._file: int | None = None

    def acquire(self, alone: bool) -> bool:
        """Tries to acquire the lock; returns whether it did."""
        self._file, _ = _attempt(self.path, alone)
        return self._file is not None

    def share(self) -> None:
        """Lets others hold the lock too."""
        import fcntl

        assert self._file is not None
        fcntl.lockf(self._file, fcntl.LOCK_SH)

    def release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def remove(self) -> None:
        """Deletes the file, which this process holds alone."""
        with suppress(OSError):
            self.path.unlink()
        self.release()


def this_process() -> str:
    """Returns how other processes name this one."""
    return f"process {os.getpid()} on {socket.gethostname()}"


def _name_holder(file: int, path: Path, holder: str) -> None:
    with write_errors(path):
        os.ftruncate(file, 0)
        os.write(file, f"{holder}, since {time.strftime('%Y-%m-%d %H:%M:%S')}\n".encode())


def _locked(path: Path, what: str, alone: bool, waits: bool = False) -> int:
    """Opens and locks a lock file."""
    while True:
        file, holder = _attempt(path, alone)
        if file is not None:
            return file
        if not waits:
            raise InputError(f"{what} is being written by {holder}. Wait until it is done, or write elsewhere.")
        time.sleep(TURN)


def _attempt(path: Path, alone: bool) -> tuple[int | None, str]:
    """Opens and locks a lock file if no other process prevents it; returns it, or None with the name of its holder."""
    import fcntl

    kind = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
    while True:
        file = _opened(path)
        try:
            fcntl.lockf(file, kind | fcntl.LOCK_NB)  # not flock, which child processes would inherit
        except OSError as error:
            holder = os.read(file, 1000).decode("utf-8", "replace").strip() or "another process"
            os.close(file)
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise SltCacheError(
                    f"{path}: cannot be locked ({error.strerror}); choose a file system with locks."
                ) from error
            return None, holder
        with suppress(FileNotFoundError):
            if os.path.samestat(path.stat(), os.fstat(file)):
                return file, ""
        os.close(file)  # deleted by its holder meanwhile


def _opened(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    with write_errors(path):
        for _ in range(ATTEMPTS):
            path.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # another process deleted the folder meanwhile
                return os.open(path, flags, 0o666)
        return os.open(path, flags, 0o666)


def require_writable(folder: Path) -> None:
    """Makes the folder. Raises InputError if it is not writable, SltCacheError if its disk is full."""
    with write_errors(folder, "nothing was begun"):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0")
            file.flush()
