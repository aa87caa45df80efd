"""Selects the frames of a clip from a video: a segment in seconds, and frames at another rate. Opens nothing.

Seconds are those of the container's clock, as in players and annotation tools: the file begins to play at 0, which may
be before its first frame."""

from dataclasses import dataclass

import numpy as np

PAUSE = 8
"""Usual frame durations; a frame that is shown for longer is a pause, and stays until the next one."""
HAIR = 1e-6
"""Seconds; tolerance for rounding errors of sums of floats."""


@dataclass(frozen=True)
class Timeline:
    """The frames of a video in time."""

    num_frames: int
    fps: float
    """Frame rate, an average if frames are irregular."""
    seconds: np.ndarray | None = None
    """Display time of each frame, float64 [num_frames]; None if frames are regular."""
    begin: float = 0.0
    """Display time of the first frame in seconds."""
    last: float | None = None
    """Seconds for which the last frame is shown; None for the average duration."""

    @property
    def length(self) -> float:
        """Duration of all frames in seconds."""
        return self.num_frames / self.fps

    @property
    def end(self) -> float:
        """Time until which the last frame is shown, in seconds."""
        if self.seconds is None:
            return self.begin + self.length
        return float(self.seconds[-1]) + (self.last or 1 / self.fps)

    def at(self, seconds: np.ndarray | float) -> np.ndarray:
        """Returns the nearest frames, int64, or the frame that is shown through a pause; `num_frames` past the end."""
        if self.seconds is None:
            nearest = np.rint((np.asarray(seconds) - self.begin) * self.fps)
            return np.clip(nearest, 0, self.num_frames).astype(np.int64)
        return np.searchsorted(self._borders()[0], seconds, side="right")

    def cut(self, start: float | None, end: float | None) -> range:
        """Returns the frames from `start` to before `end`, in seconds, possibly none. A segment shorter than a frame
        has the frame that a player shows at that time."""
        first = 0 if start is None else int(self.at(start))
        last = self.num_frames if end is None else self._before(end)
        if first < last:
            return range(first, last)
        start = self.begin if start is None else start
        if (end is None or start < end) and self.begin - HAIR <= start < self.end - HAIR:
            shown = self._shown(start)
            return range(shown, shown + 1)
        return range(0)

    def why_empty(self, start: float | None, end: float | None) -> str:
        """Explains why a segment has no frames."""
        late = f"; its first frame is shown at {self.begin:.2f} s" if self.begin else ""
        return f"no frame lies between {start} s and {end} s of its {self.end:.2f} s{late}"

    def resampled(self, frames: range, fps: float, start: float | None = None, end: float | None = None) -> list[int]:
        """Resamples to `fps`: step j takes the frame nearest to j / fps after the first one, never past the last; there
        is at least one step. A higher rate repeats frames. `start` and `end` are those of the segment, which may begin
        or end in the middle of a pause."""
        if self.seconds is None:
            begin, length = self.begin + frames[0] / self.fps, len(frames) / self.fps
        else:
            begin, length = self._span(frames, start, end)
        steps = np.arange(max(1, round(length * fps))) / fps
        # A hair later, so that of two equally near frames the later one is taken, whatever the rounding.
        indices: list[int] = np.clip(self.at(begin + steps + HAIR), frames[0], frames[-1]).tolist()
        return indices

    def _span(self, frames: range, start: float | None, end: float | None) -> tuple[float, float]:
        """Returns when these frames begin and for how long they are shown, in seconds."""
        assert self.seconds is not None
        times = np.append(self.seconds, self.end)
        paused = np.diff(times) > PAUSE * self._usual()
        average = float(np.diff(self.seconds)[~paused[:-1]].mean()) if (~paused[:-1]).any() else 1 / self.fps
        begin, finish = float(times[frames[0]]), float(times[frames[-1]]) + average
        if start is not None and paused[frames[0]]:
            begin = max(begin, start)
        if paused[frames[-1]]:
            finish = float(times[frames[-1] + 1])
            finish = finish if end is None else min(finish, end)
        return begin, finish - begin

    def _before(self, end: float) -> int:
        """Returns the number of frames before this time."""
        return int(self.at(end) if self.seconds is None else np.searchsorted(self._borders()[1], end, side="right"))

    def _shown(self, seconds: float) -> int:
        """Returns the frame that a player shows at this time."""
        if self.seconds is None:
            shown = int((seconds - self.begin + HAIR) * self.fps)
        else:
            shown = int(np.searchsorted(self.seconds, seconds + HAIR, side="right")) - 1
        return min(max(shown, 0), self.num_frames - 1)

    def _borders(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns two borders of each frame, float64 [num_frames] each: a clip that begins before the first and ends at
        or after the second contains the frame. Both are midway between two frames; but a frame shown through a pause
        belongs to a clip that has half a usual frame of it."""
        assert self.seconds is not None
        middles = (self.seconds[1:] + self.seconds[:-1]) / 2
        half, paused = self._usual() / 2, np.diff(self.seconds) > PAUSE * self._usual()
        past = self.seconds[-1] + 0.5 / self.fps
        over = self.end - half if self.end - self.seconds[-1] > 2 * PAUSE * half else past
        begins = np.append(np.where(paused, self.seconds[1:] - half, middles), over)
        ends = np.append(np.where(paused, self.seconds[:-1] + half, middles), past)
        return begins, ends

    def _usual(self) -> float:
        """Returns the median duration of a frame in seconds."""
        assert self.seconds is not None
        return float(np.median(np.diff(self.seconds))) if self.num_frames > 1 else 1 / self.fps


def timeline(num_frames: int, fps: float, seconds: np.ndarray | None, last: float | None = None) -> Timeline:
    """Creates a Timeline from the file's `fps`, the display times `seconds` of its packets, and the duration `last` of
    the last frame. The file's rate is used if no frame is off by more than half a frame."""
    if seconds is None or len(seconds) == 0:
        return Timeline(num_frames, fps)
    begin = float(seconds[0])
    regular = np.abs(seconds - begin - np.arange(num_frames) / fps).max() <= 0.5 / fps
    if regular and (last or 0) <= PAUSE / fps:
        return Timeline(num_frames, fps, begin=begin)
    average = (num_frames - 1) / (float(seconds[-1]) - begin) if num_frames > 1 else fps
    return Timeline(num_frames, average, seconds, begin, last)
