"""Translation of live video, window by window while it comes, with the lag of each sentence."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from slt_cache.corpora.base import Box
from slt_cache.decoding.parts import SHORTEST_WINDOW, Cuts
from slt_cache.files import scratch_folder
from slt_cache.pipeline.translate import Translation, Translator, Untranslated
from slt_cache.progress import log
from slt_cache.video.camera import HAIR, Window, camera_windows, is_device, require_camera

WAITING = 2
"""Windows that may wait for the translator."""
POLL_SECONDS = 0.2
CLOSING_SECONDS = 2.0
"""Longest time for which the end waits for the thread that reads."""


def live(
    translator: Translator, source: str, window: float, nbest: int = 1, paced: bool = False, box: Box | None = None
) -> Iterator[Translation | Untranslated]:
    """Yields the sentence of each window of this many seconds as soon as it can, with its lag: the seconds from the
    arrival of its last frame to the sentence. `source` is the number or path of a camera, a video file, which is read
    at its own speed if `paced`, or `-` for standard input. Of the frames the `box` is read.

    If a camera is faster than the translator, windows are skipped, which is said of each. What remains at the end is a
    window of its own, however short, since the sentence of the window before is out already; less than SHORTEST_WINDOW
    is only logged. Raises InputError for a source that is no video, and for invalid windows."""
    translator.check(nbest)
    cuts = Cuts(window, box=box)
    require_camera(source)
    translator.workers = 0  # the windows' files are our own, and a process for each would take time
    with scratch_folder() as folder, closing(_Reader(source, window, folder, paced)) as reader:
        for found in reader.windows():
            if found.is_rest and found.start and (rest := found.end - found.start) < SHORTEST_WINDOW - HAIR:
                log(f"{source}: its last {rest:.2f} s are not translated: they hold no movement")
                continue
            yield _translated(translator, found, Path(source), nbest, cuts)


def _translated(
    translator: Translator, found: Window, source: Path, nbest: int, cuts: Cuts
) -> Translation | Untranslated:
    if found.skipped:
        return Untranslated(source, "skipped: the camera is faster than the translator", found.start, found.end)
    [one] = translator.translate([found.path], nbest, box=cuts.box)
    found.path.unlink()
    if isinstance(one, Untranslated):
        return Untranslated(source, one.reason, found.start, found.end)
    lag = time.monotonic() - found.arrived
    return replace(one, video=source, start=found.start, end=found.end, lag=lag)


class _Reader:
    """Thread that reads the video, so that none of it is missed while a window is translated."""

    def __init__(self, source: str, window: float, folder: Path, paced: bool):
        self._waiting: deque[Window] = deque()
        self._changed = threading.Condition()
        self._stopped = self._ended = False
        self._error: Exception | None = None
        self._skips = is_device(source)
        read = camera_windows(source, window, folder, paced, lambda: not self._stopped)
        self._thread = threading.Thread(target=self._read, args=(read,), daemon=True)
        self._thread.start()

    def windows(self) -> Iterator[Window]:
        """Yields the windows in order, as they come. Raises the error of reading, if any, after the last."""
        while True:
            with self._changed:
                while not self._waiting and not self._ended:
                    self._changed.wait(POLL_SECONDS)
                if not self._waiting:
                    break
                found = self._waiting.popleft()
                self._changed.notify_all()
            yield found
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join(CLOSING_SECONDS)  # a camera or a pipe may never give another frame

    def _read(self, windows: Iterator[Window]) -> None:
        try:
            for found in windows:
                self._add(found)
        except Exception as error:  # raised again in the thread that translates
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _add(self, found: Window) -> None:
        with self._changed:
            if self._skips:
                self._skip_one()
            while not self._skips and len(self._waiting) >= WAITING and not self._stopped:
                self._changed.wait(POLL_SECONDS)
            self._waiting.append(found)
            self._changed.notify_all()

    def _skip_one(self) -> None:
        """Skips the oldest window that waits, if too many do."""
        whole = [number for number, one in enumerate(self._waiting) if not one.skipped]
        if len(whole) >= WAITING:
            one = self._waiting[whole[0]]
            one.path.unlink()
            self._waiting[whole[0]] = replace(one, skipped=True)
