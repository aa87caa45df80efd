"""Landmarks of a clip in place of its frames. MediaPipe runs where the frames are read, so that it runs in as many
processes as there are readers."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from slt_cache.holistic.child import PATIENCE, Holistic, NoAnswer, holistic
from slt_cache.video.chunks import ChunkReader, ClipEnd, ClipView, Event
from slt_cache.video.frames import open_frames
from slt_cache.video.stream import MOST_CHARACTERS, VideoError
from slt_cache.video.subprocess import Died

LONGEST_CHUNK = 60.0
"""Seconds after which the landmarks found so far are passed on, so that a reader of a long clip is not taken for one
that hangs."""


@dataclass(frozen=True)
class LandmarkReader(ChunkReader):
    """Reads the landmarks of clips, view 0, as chunks float32 [n, 543, 4]: x, y and z in widths of the frame, x and y
    from its middle, and the visibility; NaN for landmarks that were not found. Frames are read at their own size."""

    python: str | None = None
    """Interpreter that has MediaPipe; None for this process's own."""

    def _chunks(self, job: ClipView) -> Iterator[Event]:
        """Yields the chunks of a clip and its end. A clip with which the child dies is tried once more, as memory may
        have run out; the second try omits what was yielded before."""
        yielded = 0
        for is_last in (False, True):
            seen = 0
            try:
                for event in self._try(job):
                    if isinstance(event, torch.Tensor):
                        event, seen = event[max(0, yielded - seen) :], seen + len(event)
                        yielded = max(yielded, seen)
                    yield event
                return
            except NoAnswer as error:
                if error.is_late:
                    raise VideoError(f"MediaPipe gave no answer in {PATIENCE} seconds") from error
                if is_last:
                    died = Died(error.exitcode, "MediaPipe", error.last_line[:MOST_CHARACTERS])
                    raise VideoError(str(died), died.advice) from error

    def _try(self, job: ClipView) -> Iterator[Event]:
        assert job.view == 0, "landmarks have no augmented views"
        stream = open_frames(job.clip, self.video.keep_every, 0, self.video.fps, self.video.decoder)
        child = holistic(self.python)
        child.begin()
        found, begun = [], time.monotonic()
        for frames in stream.chunks:
            for frame in frames:
                found.append(self._landmarks(child, frame))
                if time.monotonic() - begun > LONGEST_CHUNK:
                    yield torch.from_numpy(np.stack(found))
                    found, begun = [], time.monotonic()
        if found:
            yield torch.from_numpy(np.stack(found))
        yield ClipEnd(job.clip, job.view, stream.num_frames, stream.fps, stream.notes)

    def _landmarks(self, child: Holistic, frame: np.ndarray) -> np.ndarray:
        height, width, _ = frame.shape
        landmarks = child.landmarks(np.zeros_like(frame) if self.video.blank else frame)
        middle, scale = np.array([0.5, 0.5, 0.0], np.float32), np.array([1.0, height / width, 1.0], np.float32)
        return np.concatenate([(landmarks[:, :3] - middle) * scale, landmarks[:, 3:]], axis=1)
