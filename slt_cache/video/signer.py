"""Finds the signer in clips: frames in, the part of the picture that holds the signer and the space for signs out.

MediaPipe finds one person in a frame, the most prominent one, and stays with this person while it sees them. The rule:

1. SAMPLES frames of a clip, evenly spaced, are looked at. A frame counts if both shoulders are visible.
2. If several persons were found in turn, the one that is in most frames is the signer: frames whose middle of the
   shoulders is more than NEAR shoulder widths away from the median of all do not count.
3. The box is the union, over these frames, of the visible points of head, arms, hands and hips, and of the space in
   which people sign: SIDE shoulder widths to either side of the middle of the shoulders, ABOVE over it, BELOW under it.
   It ends at the edges of the frame.

The width of the shoulders is the median over these frames."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from slt_cache.config import VideoConfig
from slt_cache.corpora.base import Box, Clip
from slt_cache.corpora.manifest import boxed
from slt_cache.holistic.child import holistic
from slt_cache.progress import log
from slt_cache.video.chunks import ClipEnd, ClipView, Event, plain
from slt_cache.video.frames import open_frames
from slt_cache.video.landmarks import LandmarkReader
from slt_cache.video.reader_pool import read_ahead
from slt_cache.video.stream import UnreadableVideo

SAMPLES = 8
LEAST_VISIBLE = 0.5
"""Visibility of a point of the body, 0 to 1, from which it is seen."""
NEAR = 1.0
SIDE, ABOVE, BELOW = 1.75, 1.5, 2.0
SHOULDERS = [11, 12]
BODY = 33
"""Points of the body, before those of the hands."""
UPPER = (*range(25), *range(BODY, BODY + 42))
"""Points of the body above the legs, and of both hands."""
DIGITS = 4
"""Decimals of a box: a tenth of a pixel in a frame of 1,000."""


@dataclass(frozen=True)
class SignerReader(LandmarkReader):
    """Reads the box of the signer in each clip, one chunk float32 [1, 4], NaN if there is no person."""

    def _try(self, job: ClipView) -> Iterator[Event]:
        whole = open_frames(job.clip, 1)
        every = -(-whole.num_frames // SAMPLES)
        child = holistic(self.python)
        child.begin()
        found, aspect = [], 1.0
        for frames in open_frames(job.clip, every, every // 2).chunks:
            aspect = frames.shape[2] / frames.shape[1]
            found += [child.landmarks(frame) for frame in frames]
        box = signer_box(np.stack(found), aspect)
        yield torch.tensor([[float("nan")] * 4 if box is None else box])
        yield ClipEnd(job.clip, job.view, whole.num_frames, whole.fps, whole.notes)


def signer_box(landmarks: np.ndarray, aspect: float) -> Box | None:
    """Returns the box of the signer; None if there is no person. `landmarks` are those of MediaPipe in the frames that
    are looked at, float32 [n, 543, 4] with x and y as shares of the frame, whose width is `aspect` times its height."""
    points = landmarks.astype(np.float64)
    is_seen = ~np.isnan(points[..., 0])
    is_seen[:, :BODY] &= points[:, :BODY, 3] >= LEAST_VISIBLE  # false for NaN
    counts = is_seen[:, SHOULDERS].all(1)
    points, is_seen = points[counts, :, :2], is_seen[counts]
    if not len(points):
        return None
    unit = np.array([1.0, aspect])  # of a width, in shares of width and height
    left, right = points[:, SHOULDERS[0]], points[:, SHOULDERS[1]]
    middles, widths = (left + right) / 2, np.hypot(*((left - right) / unit).T)
    distance = np.hypot(*((middles - np.median(middles, axis=0)) / unit).T)
    counts = distance <= max(NEAR * float(np.median(widths)), float(distance.min()))
    shoulder = float(np.median(widths[counts])) * unit
    first, last = middles[counts].min(0), middles[counts].max(0)
    own = points[counts][:, UPPER][is_seen[counts][:, UPPER]]  # [points, 2]
    low = np.minimum(own.min(0), first - shoulder * (SIDE, ABOVE)).clip(0, 1).round(DIGITS)
    high = np.maximum(own.max(0), last + shoulder * (SIDE, BELOW)).clip(0, 1).round(DIGITS)
    return (*low.tolist(), *high.tolist()) if (low < high).all() else None


def signer_boxes(clips: Sequence[Clip], python: str | None, workers: int) -> Iterator[Box | UnreadableVideo | None]:
    """Yields the box of the signer in each clip, None where there is no person, or why it cannot be found, in order.
    `python` is an interpreter with MediaPipe, None for this process's own."""
    box: Box | None = None
    for event in read_ahead(plain(clips), SignerReader(VideoConfig(), python=python), min(workers, len(clips))):
        if isinstance(event, torch.Tensor):
            sides = [round(float(side), DIGITS) for side in event[0]]
            box = None if np.isnan(sides).any() else (sides[0], sides[1], sides[2], sides[3])
        else:
            yield box if isinstance(event, ClipEnd) else event


def boxed_signers(clips: Sequence[Clip], python: str | None, workers: int) -> Iterator[list[Clip] | UnreadableVideo]:
    """Yields each clip with the box of its signer, whole if there is no person; or why it cannot be found."""
    for clip, box in zip(clips, signer_boxes(clips, python, workers), strict=True):
        if isinstance(box, UnreadableVideo):
            yield box
            continue
        log(f"{clip.video}: {'no person found; whole frames are read' if box is None else f'box {boxed(box)}'}")
        yield [replace(clip, box=box)]
