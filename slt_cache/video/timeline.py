"""Which frames of a video a clip consists of: its cut in seconds, and the frames at another rate. Opens nothing.

Seconds are those of the container's clock, as players and annotation tools count them: 0 is where the file begins to
play, which may be before its first frame."""

from dataclasses import dataclass

import numpy as np

PAUSE = 8
"""Usual frames; what is shown for longer is held through a pause, and stays until the next one comes."""
HAIR = 1e-6
"""Seconds, by which sums of floats may miss each other."""


@dataclass(frozen=True)
class Timeline:
    """The frames of a video in time."""

    num_frames: int
    fps: float
    """Frames a second, on average where they come irregularly."""
    seconds: np.ndarray | None = None
    """float64 [num_frames], when each frame is shown; None where they come regularly."""
    begin: float = 0.0
    """Seconds at which the first frame is shown."""
    last: float | None = None
    """Seconds for which the last frame is shown; None for the time of an average frame."""

    @property
    def length(self) -> float:
        """Seconds that its frames take."""
        return self.num_frames / self.fps

    @property
    def end(self) -> float:
        """Seconds; until then the last frame is shown."""
        if self.seconds is None:
            return self.begin + self.length
        return float(self.seconds[-1]) + (self.last or 1 / self.fps)

    def at(self, seconds: np.ndarray | float) -> np.ndarray:
        """int64: the nearest frames, but through a pause the held one; `num_frames` for times past the last frame."""
        if self.seconds is None:
            nearest = np.rint((np.asarray(seconds) - self.begin) * self.fps)
            return np.clip(nearest, 0, self.num_frames).astype(np.int64)
        return np.searchsorted(self._borders()[0], seconds, side="right")

    def cut(self, start: float | None, end: float | None) -> range:
        """Frames from `start` on and before `end`, in seconds; none where the video has none there. A cut that is
        shorter than a frame has the frame that a player shows then."""
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
        """What to say of a cut without frames."""
        late = f"; its first frame is shown at {self.begin:.2f} s" if self.begin else ""
        return f"no frame lies between {start} s and {end} s of its {self.end:.2f} s{late}"

    def resampled(self, frames: range, fps: float, start: float | None = None, end: float | None = None) -> list[int]:
        """For each step j of `fps` a second the frame that is nearest to j / fps after the first one, never one past
        the last; at least one. A higher rate repeats frames. `start` and `end` are those of the cut, which may begin
        or end in the middle of a pause."""
        if self.seconds is None:
            begin, length = self.begin + frames[0] / self.fps, len(frames) / self.fps
        else:
            begin, length = self._span(frames, start, end)
        steps = np.arange(max(1, round(length * fps))) / fps
        # A hair later, so that of two equally near frames it is always the later one, whatever the rounding.
        indices: list[int] = np.clip(self.at(begin + steps + HAIR), frames[0], frames[-1]).tolist()
        return indices

    def _span(self, frames: range, start: float | None, end: float | None) -> tuple[float, float]:
        """Seconds at which these frames begin and for how long they are shown."""
        assert self.seconds is not None
        times = np.append(self.seconds, self.end)
        held = np.diff(times) > PAUSE * self._usual()
        average = float(np.diff(self.seconds)[~held[:-1]].mean()) if (~held[:-1]).any() else 1 / self.fps
        begin, finish = float(times[frames[0]]), float(times[frames[-1]]) + average
        if start is not None and held[frames[0]]:
            begin = max(begin, start)
        if held[frames[-1]]:
            finish = float(times[frames[-1] + 1])
            finish = finish if end is None else min(finish, end)
        return begin, finish - begin

    def _before(self, end: float) -> int:
        """How many frames come before this time."""
        return int(self.at(end) if self.seconds is None else np.searchsorted(self._borders()[1], end, side="right"))

    def _shown(self, seconds: float) -> int:
        """The frame that a player shows at this time."""
        if self.seconds is None:
            shown = int((seconds - self.begin + HAIR) * self.fps)
        else:
            shown = int(np.searchsorted(self.seconds, seconds + HAIR, side="right")) - 1
        return min(max(shown, 0), self.num_frames - 1)

    def _borders(self) -> tuple[np.ndarray, np.ndarray]:
        """float64 [num_frames] each: a clip that begins before the first has this frame, and so does one that ends at
        the second or later. Both are in the middle between two frames; but what is held through a pause belongs to a
        clip that has half a usual frame of it."""
        assert self.seconds is not None
        middles = (self.seconds[1:] + self.seconds[:-1]) / 2
        half, held = self._usual() / 2, np.diff(self.seconds) > PAUSE * self._usual()
        past = self.seconds[-1] + 0.5 / self.fps
        over = self.end - half if self.end - self.seconds[-1] > 2 * PAUSE * half else past
        begins = np.append(np.where(held, self.seconds[1:] - half, middles), over)
        ends = np.append(np.where(held, self.seconds[:-1] + half, middles), past)
        return begins, ends

    def _usual(self) -> float:
        """Seconds for which most frames are shown."""
        assert self.seconds is not None
        return float(np.median(np.diff(self.seconds))) if self.num_frames > 1 else 1 / self.fps


def timeline(num_frames: int, fps: float, seconds: np.ndarray | None, last: float | None = None) -> Timeline:
    """`fps` is what the file says, `seconds` when its packets say that each frame is shown, and `last` for how long the
    last one is. The file is believed where no frame is further from its place than half a frame."""
    if seconds is None or len(seconds) == 0:
        return Timeline(num_frames, fps)
    begin = float(seconds[0])
    regular = np.abs(seconds - begin - np.arange(num_frames) / fps).max() <= 0.5 / fps
    if regular and (last or 0) <= PAUSE / fps:
        return Timeline(num_frames, fps, begin=begin)
    average = (num_frames - 1) / (float(seconds[-1]) - begin) if num_frames > 1 else fps
    return Timeline(num_frames, average, seconds, begin, last)
