"""Windows of frames, which encoders of video read: some frames in a row, every so many frames. Knows no files."""

import torch


class Windows:
    """Splits the frames of one clip, which arrive in chunks, into windows. With windows of one frame these are the
    frames.

    A clip of T' frames has 1 + ceil((T' - window) / stride) windows, at least one. Where the last one reaches past the
    end, it repeats the last frame, so that every frame is in a window."""

    def __init__(self, window: int, stride: int):
        """Begins a clip; `stride` frames, at most `window`, lie between the starts of two windows."""
        assert 1 <= stride <= window, (window, stride)
        self.window, self.stride = window, stride
        self.waiting: torch.Tensor | None = None
        """Frames of the windows that are not complete."""
        self.is_covered = False
        """Whether the frames waiting are all in a window already."""

    def add(self, frames: torch.Tensor) -> torch.Tensor:
        """Returns the windows [m, window, ...] that these frames [n, ...] complete."""
        if self.window == 1:
            return frames
        frames = frames if self.waiting is None else torch.cat([self.waiting, frames])
        count = max(0, 1 + (len(frames) - self.window) // self.stride)
        self.waiting = frames[count * self.stride :].clone()  # chunks are views of memory that is used again
        self.is_covered = len(self.waiting) <= self.window - self.stride and (count > 0 or self.is_covered)
        places = torch.arange(count).unsqueeze(1) * self.stride + torch.arange(self.window)
        return frames[places]  # [m, window, ...]

    def end(self) -> torch.Tensor | None:
        """Returns the last window [1, window, ...], if one is needed."""
        if self.waiting is None or self.is_covered:
            return None
        last = self.waiting[-1:].expand(self.window - len(self.waiting), *self.waiting.shape[1:])
        return torch.cat([self.waiting, last]).unsqueeze(0)
