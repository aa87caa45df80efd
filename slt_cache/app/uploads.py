"""Files that visitors give to the page: each in a folder of its own, counted, and deleted once answered or too old.

Equal files of two visitors are two files: what one of them is done with is not the other's."""

import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

MEGABYTE = 1_000_000
FORGOTTEN_SECONDS = 60
"""An upload that no question follows is deleted after this."""
WAITING_SECONDS = 1800
"""One that waits for its turn, after this."""
SWEEP_SECONDS = 5
LONGEST_NAME = 200
"""Bytes of a file's name that are kept, its ending among them; most systems take 255."""


class NoRoom(Exception):
    """The files that are held already leave no room for another."""


@dataclass
class _Held:
    size: int
    since: float
    waiting: bool = False
    """Whether it is in the queue."""


class Uploads:
    """The files that are held in a folder, and the bytes that are on their way."""

    def __init__(self, folder: Path, most_bytes: int):
        self.folder = folder
        self.most_bytes = most_bytes
        self._held: dict[Path, _Held] = {}
        self._expected = 0
        self._lock = threading.Lock()

    @property
    def bytes(self) -> int:
        """Of all files, those on their way included."""
        return self._expected + sum(one.size for one in self._held.values())

    @contextmanager
    def expecting(self, size: int) -> Iterator[None]:
        """Keeps room for a file while it arrives. Raises NoRoom."""
        with self._lock:
            if self.bytes + size > self.most_bytes:
                raise NoRoom
            self._expected += size
        try:
            yield
        finally:
            with self._lock:
                self._expected -= size

    def new_path(self, name: str) -> Path:
        """A path that no other upload has; keeps what is harmless of the visitor's name for the file."""
        harmless = "".join(one for one in name.replace("\\", "/").rpartition("/")[2] if one.isprintable())
        folder = self.folder / secrets.token_hex(16)
        folder.mkdir(mode=0o700)
        kept = harmless.encode("utf-8", "replace")[-LONGEST_NAME:].decode("utf-8", "ignore")
        return folder / (kept.strip(". ") or "video")

    def hold(self, path: Path) -> None:
        """Takes a file that has arrived at `new_path`."""
        with self._lock:
            self._held[path] = _Held(path.stat().st_size, time.monotonic())

    def holds(self, path: Path) -> bool:
        return path in self._held

    def wait(self, path: Path, waiting: bool) -> None:
        """Whether the file is in the queue; if it leaves it, its time begins again."""
        with self._lock:
            if path in self._held:
                self._held[path].waiting, self._held[path].since = waiting, time.monotonic()

    def delete(self, path: Path) -> None:
        """Deletes the file; nothing if it is not held."""
        with self._lock:
            if self._held.pop(path, None) is not None:
                shutil.rmtree(path.parent, ignore_errors=True)

    def sweep(self) -> None:
        """Deletes what is too old."""
        now = time.monotonic()
        for path, one in list(self._held.items()):
            if now - one.since > (WAITING_SECONDS if one.waiting else FORGOTTEN_SECONDS):
                self.delete(path)
        for path in self.folder.iterdir():  # gradio leaves an empty file for each that it hands on
            if path.is_file() and time.time() - path.stat().st_mtime > FORGOTTEN_SECONDS:
                path.unlink(missing_ok=True)

    @contextmanager
    def swept(self) -> Iterator[None]:
        """Sweeps now and then while the block runs."""
        ended = threading.Event()

        def sweep() -> None:
            while not ended.wait(SWEEP_SECONDS):
                with suppress(OSError):
                    self.sweep()

        thread = threading.Thread(target=sweep, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
