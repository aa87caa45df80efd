"""What moves in a video, in place of its frames: by the frames themselves, or by the hands that MediaPipe finds. One
pass over the video, whose memory does not grow with its length; pauses.py makes segments of the result."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from slt_cache.config import VideoConfig
from slt_cache.video.chunks import ChunkReader, ClipEnd, ClipView, Event
from slt_cache.video.frames import open_frames
from slt_cache.video.landmarks import LandmarkReader
from slt_cache.video.stream import VideoError
from slt_cache.video.windows import timed

CELLS = 32
"""Cells of the picture along its shorter side; the mean of a cell has little noise."""
PIXELS = 128
"""Smallest number of pixels along that side that are read of a larger picture."""
MOVING_SHARE = 0.01
"""Share of the cells in which movement is measured, those that change most: less than a hand covers, so that the size
of the background does not matter."""
WRISTS = (15, 16)
"""Wrists among the landmarks of the body: left, right."""
SHOULDERS = (11, 12)
HANDS = (slice(33, 54), slice(54, 75))
"""Landmarks of the hands: left, right."""
LEAST_VISIBLE = 0.5
"""Visibility below which a wrist is not seen, and at rest."""
CLOSEST = 0.02
"""Smallest distance of the shoulders, in widths of the frame, that is taken for one."""


@dataclass(frozen=True)
class MovementReader(ChunkReader):
    """Reads what moves in whole videos, as chunks float32 [n, 3]: for each sample the movement, the change everywhere
    (pauses.py), and the number of samples of the video. Samples are evenly spaced in time, about `rate` per second."""

    rate: float = 25.0
    """Samples per second, of a video with a higher frame rate."""
    visible: float = 2.5
    """Smallest movement that counts: levels of 255."""

    def _chunks(self, job: ClipView) -> Iterator[Event]:
        times = timed(job.clip.video)
        step = max(1, round(times.fps / self.rate))
        video = self.video.model_copy(update={"fps": times.fps, "keep_rate": 1 / step})
        frames = open_frames(job.clip, step, 0, times.fps).num_frames
        for moved in self._moved(job, video):
            total = torch.full((len(moved), 1), -(-frames // step))
            yield torch.cat([moved, total], 1)
        yield ClipEnd(job.clip, job.view, frames, times.fps / step, span=(times.begin, times.end))

    def _moved(self, job: ClipView, video: VideoConfig) -> Iterator[torch.Tensor]:
        """Yields chunks [n, 2] of the movement and the change everywhere, 0 for the first sample."""
        before: torch.Tensor | None = None
        for frames in open_frames(job.clip, video.keep_every, 0, video.fps, video.decoder).chunks:
            cells = _cells(frames)
            cells = torch.cat([cells[:1] if before is None else before, cells])
            before = cells[-1:]
            changes = (cells[1:] - cells[:-1]).abs().mean(1)  # [n, cells]
            most = changes.topk(max(1, round(MOVING_SHARE * changes.shape[1]))).values.mean(1)
            everywhere = changes.median(1).values
            yield torch.stack([most - everywhere, everywhere], 1)


def _cells(frames: np.ndarray) -> torch.Tensor:
    """Returns the means of the cells of frames, uint8 [n, H, W, 3], float32 [n, 3, cells]."""
    every = max(1, min(frames.shape[1:3]) // PIXELS)
    images = torch.from_numpy(np.ascontiguousarray(frames[:, ::every, ::every])).permute(0, 3, 1, 2).float()
    height, width = (max(1, round(side * CELLS / min(images.shape[-2:]))) for side in images.shape[-2:])
    return torch.nn.functional.adaptive_avg_pool2d(images, (height, width)).flatten(2)


@dataclass(frozen=True)
class HandMovementReader(MovementReader):
    """Reads the movement of the hands, in hundredths of the distance of the shoulders. Hands that are not seen are at
    rest, and so are all if there is no person."""

    rate: float = 12.5
    visible: float = 4.0
    """Half of the distance of the shoulders per second."""
    python: str | None = None
    """Interpreter that has MediaPipe; None for this process's own."""

    def _moved(self, job: ClipView, video: VideoConfig) -> Iterator[torch.Tensor]:
        before = np.full((1, 75, 4), np.nan, np.float32)
        for event in LandmarkReader(video, python=self.python).events(job):
            if isinstance(event, ClipEnd):
                return
            if not isinstance(event, torch.Tensor):
                raise VideoError(event.reason, event.advice)
            points = np.concatenate([before, event.numpy()[:, :75]])
            before = points[-1:]
            yield torch.from_numpy(np.stack([hand_movement(points), np.zeros(len(event), np.float32)], 1))


def hand_movement(points: np.ndarray) -> np.ndarray:
    """Returns how far the hand that moves more has moved to each sample from the one before, float32 [n]: its wrist, or
    the mean of its points, so that fingerspelling counts. The unit is a hundredth of the distance of the shoulders, or
    of a quarter of the frame's width where they are not found. `points` are the landmarks of body and hands, float32
    [n + 1, 75, 4], as `LandmarkReader` gives them."""
    across = np.hypot(*np.moveaxis(points[1:, SHOULDERS[0], :2] - points[1:, SHOULDERS[1], :2], -1, 0))
    unit = np.where(across >= CLOSEST, across, 0.25)  # NaN is not
    moved = np.hypot(*np.moveaxis(np.diff(points[..., :2], axis=0), -1, 0)) / unit[:, None] * 100  # [n, 75]
    is_seen = np.minimum(points[1:, :, 3], points[:-1, :, 3]) >= LEAST_VISIBLE
    wrists = [np.where(is_seen[:, wrist], moved[:, wrist], 0.0) for wrist in WRISTS]
    hands = [moved[:, hand].mean(1) for hand in HANDS]
    found: np.ndarray = np.nan_to_num(np.stack([*wrists, *hands])).max(0).astype(np.float32)
    return found
