"""File systems that are really full or read-only: small ones in memory, if mounting is allowed."""

import contextlib
import errno
import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

PAGE = 4096


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """Mounts a tmpfs of `size` bytes at `folder`; skips the test if mounting is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    if not _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)):
        pytest.skip("mounting a file system is not allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[Path]:
    """Makes the folder and its content read-only, even for root."""
    if not _mount("--bind", str(folder), str(folder)):
        pytest.skip("mounting a file system is not allowed here")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextlib.contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Lets no file of this process grow beyond `size` bytes: a longer write fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def fill(folder: Path, left: int) -> Path:
    """Fills the disk except for `left` bytes; returns the file that fills it."""
    filler = folder / "filler"
    with filler.open("ab", buffering=0) as file:
        for block in (1 << 20, PAGE):
            with contextlib.suppress(OSError):
                while free(folder) >= left + block:
                    file.write(bytes(block))
    return filler


def free(folder: Path) -> int:
    """Returns the free bytes of a disk."""
    state = os.statvfs(folder)
    return state.f_bavail * state.f_frsize


def _mount(*arguments: str) -> bool:
    try:
        return subprocess.run(["mount", *arguments], capture_output=True).returncode == 0
    except OSError as error:
        assert error.errno == errno.ENOENT
        return False
