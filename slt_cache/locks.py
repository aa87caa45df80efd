"""Locks on folders that one process may write at a time, and a check that they are writable."""

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


@contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Holds a lock file while the block runs; the system releases it however the process ends.

    Raises InputError, naming the holder, if another process, on any machine of a shared file system, has it."""
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
    """Opens and locks a lock file."""
    import fcntl

    while True:
        with write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # not flock, which child processes would inherit
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
        os.close(file)  # deleted by its holder meanwhile


def require_writable(folder: Path) -> None:
    """Makes the folder. Raises InputError if it is not writable, SltCacheError if its disk is full."""
    with write_errors(folder, "nothing was begun"):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0")
            file.flush()
