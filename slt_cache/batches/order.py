"""In which order the clips of an epoch are seen. Every clip once an epoch."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


class EpochOrder(Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, index). The epoch rides along so that a worker knows which random numbers are due:
    everything random follows from (seed, epoch, index), so any epoch can be begun anew and gives the same."""

    def __init__(self, clips: int, batch_size: int, seed: int, shuffle: bool):
        self.clips = clips
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.epoch = 0

    def __len__(self) -> int:
        return len(self._starts())

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = np.arange(self.clips)
        if self.shuffle:
            np.random.default_rng((self.seed, self.epoch)).shuffle(order)
        starts = self._starts()
        for first, last in zip(starts, [*starts[1:], self.clips], strict=True):
            yield [(self.epoch, int(index)) for index in order[first:last]]

    def _starts(self) -> list[int]:
        """Where batches begin. In training, a single clip at the end joins the batch before: batch statistics of
        one short clip would be noise, or of a single frame impossible."""
        starts = list(range(0, self.clips, self.batch_size))
        if self.shuffle and len(starts) > 1 and self.clips - starts[-1] == 1:
            starts.pop()
        return starts
