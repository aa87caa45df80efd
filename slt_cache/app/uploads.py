"""Manages files that visitors upload: each in its own folder, counted, and deleted when answered or too old.

Equal files of two visitors are two files: deleting one does not affect the other."""

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
"""Seconds after which an upload without a question is deleted."""
WAITING_SECONDS = 1800
"""Seconds after which an upload that waits for its turn is deleted."""
SWEEP_SECONDS = 5
LONGEST_NAME = 200
"""Bytes of a file name that are kept, including the suffix; most systems allow 255."""


class NoRoom(Exception):
    """Raised if the stored files leave no room for another."""


@dataclass
class _Upload:
    size: int
    since: float
    waiting: bool = False
    """Whether the upload is in the queue."""


class Uploads:
    """The uploads in a folder, and the bytes of those that are arriving."""

    def __init__(self, folder: Path, most_bytes: int):
        self.folder = folder
        self.most_bytes = most_bytes
        self._held: dict[Path, _Upload] = {}
        self._expected = 0
        self._lock = threading.Lock()

    @property
    def bytes(self) -> int:
        """Bytes of all files, including those that are arriving."""
        return self._expected + sum(one.size for one in self._held.values())

    @contextmanager
    def expecting(self, size: int) -> Iterator[None]:
        """Reserves room for a file while it arrives. Raises NoRoom."""
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
        """Returns a unique path that keeps the harmless part of the visitor's file name."""
        harmless = "".join(one for one in name.replace("\\", "/").rpartition("/")[2] if one.isprintable())
        folder = self.folder / secrets.token_hex(16)
        folder.mkdir(mode=0o700)
        kept = harmless.encode("utf-8", "replace")[-LONGEST_NAME:].decode("utf-8", "ignore")
        return folder / (kept.strip(". ") or "video")

    def hold(self, path: Path) -> None:
        """Adds a file that has arrived at `new_path`."""
        with self._lock:
            self._held[path] = _Upload(path.stat().st_size, time.monotonic())

    def holds(self, path: Path) -> bool:
        return path in self._held

    def wait(self, path: Path, waiting: bool) -> None:
        """Records whether the file is in the queue; when it leaves the queue, its time starts again."""
        with self._lock:
            if path in self._held:
                self._held[path].waiting, self._held[path].since = waiting, time.monotonic()

    def delete(self, path: Path) -> None:
        """Deletes the file, if it is known."""
        with self._lock:
            if self._held.pop(path, None) is not None:
                shutil.rmtree(path.parent, ignore_errors=True)

    def sweep(self) -> None:
        """Deletes files that are too old."""
        now = time.monotonic()
        for path, one in list(self._held.items()):
            if now - one.since > (WAITING_SECONDS if one.waiting else FORGOTTEN_SECONDS):
                self.delete(path)
        for path in self.folder.iterdir():  # gradio leaves an empty file for each upload
            if path.is_file() and time.time() - path.stat().st_mtime > FORGOTTEN_SECONDS:
                path.unlink(missing_ok=True)

    @contextmanager
    def swept(self) -> Iterator[None]:
        """Sweeps periodically while the block runs."""
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
