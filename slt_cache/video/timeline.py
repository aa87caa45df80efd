"""Which frames of a video a clip consists of: its cut in seconds, and the frames at another rate. Opens nothing."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Timeline:
    """The frames of a video in time."""

    num_frames: int
    fps: float
    """Frames a second, on average where they come irregularly."""
    seconds: np.ndarray | None = None
    """float64 [num_frames], when each frame is shown; None where they come regularly."""

    @property
    def length(self) -> float:
        """Seconds"""
        return self.num_frames / self.fps

    def at(self, seconds: np.ndarray | float) -> np.ndarray:
        """int64: the nearest frames; `num_frames` for times past the last frame."""
        if self.seconds is None:
            return np.minimum(np.rint(np.asarray(seconds) * self.fps).astype(np.int64), self.num_frames)
        borders = np.append((self.seconds[1:] + self.seconds[:-1]) / 2, self.seconds[-1] + 0.5 / self.fps)
        return np.searchsorted(borders, seconds, side="right")

    def cut(self, start: float | None, end: float | None) -> range:
        """Frames from `start` on and before `end`, in seconds; none where the video has none there."""
        first = 0 if start is None else int(self.at(start))
        last = self.num_frames if end is None else int(self.at(end))
        return range(first, last)

    def resampled(self, frames: range, fps: float) -> list[int]:
        """For each step j of `fps` a second the frame that is nearest to j / fps after the first one, never one past
        the last; at least one. A higher rate repeats frames."""
        if self.seconds is None:
            begin, length = frames[0] / self.fps, len(frames) / self.fps
        else:
            begin = self.seconds[frames[0]]
            length = self.seconds[frames[-1]] - begin + 1 / self.fps
        steps = np.arange(max(1, round(length * fps))) / fps
        # A hair later, so that of two equally near frames it is always the later one, whatever the rounding.
        return np.clip(self.at(begin + steps + 1e-6), frames[0], frames[-1]).tolist()


def timeline(num_frames: int, fps: float, seconds: np.ndarray | None) -> Timeline:
    """`fps` is what the file says, `seconds` when its packets say that each frame is shown. The file is believed where
    no frame is further from its place than half a frame."""
    if seconds is None or len(seconds) < 2:
        return Timeline(num_frames, fps)
    if np.abs(seconds - np.arange(num_frames) / fps).max() <= 0.5 / fps:
        return Timeline(num_frames, fps)
    return Timeline(num_frames, (num_frames - 1) / float(seconds[-1]), seconds)
