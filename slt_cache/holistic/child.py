"""MediaPipe Holistic in a child process with an interpreter of its own: frames in, landmarks out. A frame that crashes
or hangs it costs only its clip."""

import json
import os
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO

import numpy as np

from slt_cache.children import end_program, ending, last_line, start_program
from slt_cache.errors import InputError
from slt_cache.holistic.program import GROUPS

LANDMARKS = sum(count for _, count in GROUPS)
"""Landmarks of a frame, 543."""
PATIENCE = 200
"""Seconds without an answer after which the child is killed, fewer than those of the reader that waits for it."""
PROGRAM = Path(__file__).with_name("program.py")
VERSION = "0.10.21"
"""Recommended version of MediaPipe, whose wheel contains the models."""


class NoMediaPipe(Exception):
    """Raised for an interpreter that cannot run MediaPipe; the message says why."""


class NoAnswer(Exception):
    """Raised for a child that died or hung, and has ended."""

    def __init__(self, exitcode: int, last_line: str, is_late: bool):
        """Stores how it ended; `last_line` is what it printed last."""
        super().__init__(last_line or ending(exitcode))
        self.exitcode = exitcode
        self.last_line = last_line
        self.is_late = is_late
        """Whether it was ended, as it gave no answer for PATIENCE seconds."""


@dataclass(frozen=True)
class Installed:
    """MediaPipe as an interpreter has it."""

    mediapipe: str
    """Version."""
    models_sha256: str
    """SHA-256 over names and bytes of its models."""


@lru_cache
def installed(python: str | None) -> Installed:
    """Returns the MediaPipe of an interpreter, of this process's own for None. Raises NoMediaPipe."""
    try:
        child = Holistic(python)
    except NoAnswer as error:
        raise NoMediaPipe(str(error)) from error
    child.end()
    return child.installed


def missing(python: str | None, why: NoMediaPipe) -> str:
    """Returns the end of a message: why an interpreter cannot run MediaPipe, and what to install."""
    which = "this program's own Python" if python is None else f"encoder.python {python}"
    return (
        f"{which} cannot run MediaPipe ({why}). Install it into an environment of its "
        f"own (python3.12 -m venv pose && pose/bin/pip install mediapipe=={VERSION}; it needs Python 3.9 to 3.12), "
        "and set encoder.python=pose/bin/python."
    )


def require_mediapipe(python: str | None, option: str) -> Installed:
    """Returns the MediaPipe of an interpreter, of this process's own for None. Raises InputError, which says what to
    install for the `option`."""
    try:
        return installed(python)
    except NoMediaPipe as error:
        raise InputError(f"{option}: {missing(python, error)}") from error


def holistic(python: str | None) -> "Holistic":
    """Returns this process's child under an interpreter, and starts it if there is none, or it has ended. Raises
    NoAnswer and NoMediaPipe."""
    key = os.getpid(), python  # a fork must not talk to the child of its parent
    if key not in _running or not _running[key].is_alive:
        _running[key] = Holistic(python)
    return _running[key]


class Holistic:
    """Child process with MediaPipe. Its methods raise NoAnswer, after which it has ended."""

    def __init__(self, python: str | None):
        """Starts the child. Raises NoMediaPipe."""
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115, as long as the child
        self._is_late = False
        try:
            self._process = start_program(
                [python or sys.executable, str(PROGRAM)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
            )
        except OSError as error:
            raise NoMediaPipe(error.strerror or str(error)) from error
        said = json.loads(self._exchange([], None))
        if "error" in said:
            self.end()
            raise NoMediaPipe(said["error"])
        self.installed = Installed(**said)

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def begin(self) -> None:
        """Begins a clip, whose landmarks do not depend on frames of others."""
        self._exchange([struct.pack("=II", 0, 0)], 0)

    def landmarks(self, frame: np.ndarray) -> np.ndarray:
        """Returns the landmarks of the clip's next frame, uint8 [H, W, 3]: float32 [543, 4] of x, y, z and visibility,
        NaN for those that were not found."""
        height, width, _ = frame.shape
        pixels = memoryview(np.ascontiguousarray(frame))
        answer = self._exchange([struct.pack("=II", height, width), pixels], LANDMARKS * 4 * 4)
        return np.frombuffer(answer, np.float32).reshape(LANDMARKS, 4)

    def _exchange(self, request: Sequence[bytes | memoryview], size: int | None) -> bytes:
        """Writes a request and returns the answer of this size in bytes, or for None a line."""
        requests, answers = self._process.stdin, self._process.stdout
        assert requests is not None and answers is not None
        timer = threading.Timer(PATIENCE, self._give_up)
        timer.daemon = True
        timer.start()
        try:
            with suppress(BrokenPipeError):  # noticed when the answer is read
                for part in request:
                    requests.write(part)
                requests.flush()
            answer = answers.readline() if size is None else answers.read(size)
        finally:
            timer.cancel()
        if answer.endswith(b"\n") if size is None else len(answer) == size:
            return answer
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        raise NoAnswer(self.end(), last_line(self._errors), self._is_late)

    def _give_up(self) -> None:
        self._is_late = True
        self._process.kill()

    def end(self) -> int:
        """Ends the child; returns its exit code."""
        exitcode = end_program(self._process)
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(BrokenPipeError):
                assert pipe is not None
                pipe.close()
        return exitcode


_running: dict[tuple[int, str | None], Holistic] = {}
"""Children by the process that started them and their interpreter."""
