"""Decodes frames of a video file by decord, whose packages are for x86-64 Linux."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from slt_cache.errors import InputError
from slt_cache.video.packets import PacketIndex
from slt_cache.video.stream import CUT_OFF, FramesAt, VideoError

NO_FRAME_TWICE = 1e-6
"""Share of frames that decord may repeat in place of frames that it cannot decode, which it does silently by
default."""


def require_decord() -> None:
    """Raises InputError if decord is not installed."""
    if find_spec("decord") is None:
        raise InputError(
            "video.decoder decord: not installed; its packages are for x86-64 Linux. Set video.decoder=auto: PyAV "
            "then reads the same frames."
        )


def decord_frames(path: Path, packets: PacketIndex) -> FramesAt | None:
    """Returns decord's function; None if decord is not installed, would give wrong frames, or cannot open the file with
    its old FFmpeg (AV1, for example)."""
    if not packets.exact_seeks or find_spec("decord") is None:
        return None
    reader = _decord_reader(path)
    if reader is None or packets.num_frames != len(reader):
        return None
    import decord
    from decord._ffi.base import DECORDLimitReachedError

    def frames_at(indices: list[int]) -> np.ndarray:
        try:
            frames: np.ndarray = reader.get_batch(indices).asnumpy()
        except (decord.DECORDError, DECORDLimitReachedError, RuntimeError) as error:
            raise VideoError(CUT_OFF) from error
        return frames

    return frames_at


def _decord_reader(path: Path) -> Any:
    """Opens a file by decord; None if that fails. What decord and FFmpeg write to the terminal about it is hidden."""
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    with _no_stderr():
        try:
            return decord.VideoReader(str(path.absolute()), ctx=decord.cpu(0), num_threads=1, fault_tol=NO_FRAME_TWICE)
        except (decord.DECORDError, RuntimeError, AssertionError):
            return None


@contextmanager
def _no_stderr() -> Iterator[None]:
    """Silences file descriptor 2, to which C libraries write."""
    with Path(os.devnull).open("wb") as nowhere:
        sys.stderr.flush()
        terminal = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
