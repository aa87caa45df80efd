"""What of videos is translated: whole ones, windows, or the segments between the pauses of a signer; whole frames, or a
box of them. Videos in, clips to read out."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from slt_cache.config import VideoConfig
from slt_cache.corpora.base import Box, Clip
from slt_cache.encoders.base import Encoder
from slt_cache.encoders.pose import PoseEncoder
from slt_cache.errors import InputError
from slt_cache.holistic.child import require_mediapipe
from slt_cache.video.movement import HandMovementReader, MovementReader
from slt_cache.video.pauses import PAUSE
from slt_cache.video.segments import at_pauses
from slt_cache.video.signer import boxed_signers
from slt_cache.video.stream import UnreadableVideo
from slt_cache.video.subprocess import WorkerDied, map_in_subprocess
from slt_cache.video.windows import windows

SHORTEST_WINDOW = 0.1
"""Seconds; a shorter window holds no movement."""
SEGMENTATIONS = ("auto", "motion", "pose")
"""Ways to find the pauses of a signer."""


@dataclass(frozen=True)
class Cuts:
    """What of each video is translated, and as how many sentences."""

    window: float | None = None
    """Seconds of a window, or of the longest segment; infinity for whole videos with their times."""
    segment: str | None = None
    """How pauses are found, one of SEGMENTATIONS; None to cut at none."""
    pause: float = PAUSE
    """Seconds of the shortest pause."""
    box: Box | None = None
    """The part of the frames that is read; None for whole frames."""
    find_signer: bool = False
    """Whether the part that is read is the box of the signer."""

    def __post_init__(self) -> None:
        if self.window is not None and not self.window >= SHORTEST_WINDOW:
            raise InputError(f"window {self.window:g}: a window must have at least {SHORTEST_WINDOW:g} seconds.")
        if not self.pause >= SHORTEST_WINDOW:
            raise InputError(f"pause {self.pause:g}: a pause must have at least {SHORTEST_WINDOW:g} seconds.")

    @property
    def unit(self) -> str:
        """What there is a sentence of."""
        return "segment" if self.segment else "video" if self.window in (None, math.inf) else "window"


Job = tuple[Clip, UnreadableVideo | None]
"""Clip to read; or one known to be unreadable, with the reason."""
_Parts = list[Clip] | UnreadableVideo | WorkerDied


def cut(
    clips: Sequence[Clip], cuts: Cuts, encoders: Sequence[Encoder], python: str | None, workers: int, quiet: bool
) -> list[Job]:
    """Returns the clips to read, in order. Videos are opened by processes of their own if there are `workers`. The
    `encoders` that read them, and `python`, an interpreter with MediaPipe, say how pauses are found."""
    jobs: list[Job] = [(clip, None) for clip in clips]
    python = next((one.python for one in encoders if isinstance(one, PoseEncoder)), python)
    if cuts.find_signer:
        require_mediapipe(python, "--find-signer")
        jobs = _replaced(jobs, lambda readable: boxed_signers(readable, python, workers))
    if cuts.segment is not None:
        reader = movement_reader_of(encoders, python, cuts.segment)
        jobs = _replaced(jobs, lambda readable: at_pauses(readable, reader, workers, cuts.pause, quiet))
    if cuts.window is not None:
        split = partial(_windows, window=cuts.window)
        jobs = _replaced(jobs, lambda readable: (map_in_subprocess if workers else map)(split, readable))
    return jobs


def _replaced(jobs: Sequence[Job], parts: Callable[[Sequence[Clip]], Iterable[_Parts]]) -> list[Job]:
    """Replaces each readable clip by its parts."""
    found = iter(parts([clip for clip, failure in jobs if failure is None]))
    return [job for one in jobs for job in ([one] if one[1] is not None else _jobs_of(one[0], next(found)))]


def _jobs_of(clip: Clip, parts: _Parts) -> list[Job]:
    if isinstance(parts, list):
        return [(part, None) for part in parts]
    if isinstance(parts, WorkerDied):
        parts = UnreadableVideo(clip.id, clip.video, str(parts))
    return [(clip, parts)]


def _windows(clip: Clip, window: float) -> list[Clip] | UnreadableVideo:
    try:
        return windows(clip, window)
    except UnreadableVideo as error:
        return error


def movement_reader_of(encoders: Sequence[Encoder], python: str | None, kind: str) -> MovementReader:
    """Returns the reader that finds the pauses of a signer: `motion` by the motion of the frames; `pose` by the hands,
    which the MediaPipe of an interpreter finds; `auto` by the hands if the encoder is MediaPipe or `python` is set.
    Raises InputError for another kind, and where there is no MediaPipe."""
    if kind not in SEGMENTATIONS:
        raise InputError(f"--segment {kind}: unknown. Use one of {', '.join(SEGMENTATIONS)}.")
    has_pose = python is not None or any(isinstance(one, PoseEncoder) for one in encoders)
    if kind == "motion" or (kind == "auto" and not has_pose):
        return MovementReader(VideoConfig())
    require_mediapipe(python, f"--segment {kind}")
    return HandMovementReader(VideoConfig(), python=python)
