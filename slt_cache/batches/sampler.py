"""In which order the clips of an epoch are seen. Every clip once an epoch."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler

WINDOW = 25
"""Batches; within so many shuffled ones, clips of similar length come together. More would pad less, and the same clips
would meet again every epoch."""


class Share(NamedTuple):
    """What one of several processes gets of every batch."""

    rank: int = 0
    of: int = 1


WHOLE = Share()


class EpochOrder(Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, index). The epoch rides along so that a worker knows which random numbers are due:
    everything random follows from (seed, epoch, index), so any epoch can be begun anew and gives the same; with `first`
    it begins at that batch, and the clips before it are not read.

    With `lengths`, one a clip, a batch holds clips of similar length: shuffled, sorted within windows, and the batches
    shuffled; without shuffling the longest clips come first, so that what needs the most memory is tried at once.

    Of several processes each gets its `share` of every batch: together they see what one alone would. One for which
    there is no clip gets the batch's first, to take part with; `idle` says that it must not count."""

    def __init__(
        self,
        clips: int,
        batch_size: int,
        seed: int,
        shuffle: bool,
        lengths: Sequence[int] | np.ndarray | None = None,
        share: Share = WHOLE,
    ):
        self.clips = clips
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.lengths = None if lengths is None else np.asarray(lengths)
        self.share = share
        self.epoch = 0
        self.first = 0

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return len(self._starts())

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        rank, processes = self.share
        for batch in self._batches()[self.first :]:
            mine = batch[rank::processes] if rank < len(batch) else batch[:1]
            yield [(self.epoch, int(index)) for index in mine]

    def idle(self) -> set[int]:
        """Numbers of this epoch's batches in which this process has a clip that is another's."""
        if self.share.of == 1:
            return set()
        return {number for number, batch in enumerate(self._batches()) if len(batch) <= self.share.rank}

    def _batches(self) -> list[np.ndarray]:
        """Of all processes, over the whole epoch."""
        random = np.random.default_rng((self.seed, self.epoch))
        order = np.arange(self.clips)
        if self.shuffle:
            random.shuffle(order)
        if self.lengths is not None:
            order = self._by_length(order, self.lengths)
        starts = self._starts()
        batches = [order[first:last] for first, last in zip(starts, [*starts[1:], self.clips], strict=False)]
        if self.shuffle and self.lengths is not None:
            batches = [batches[batch] for batch in random.permutation(len(batches))]
        return batches

    def _by_length(self, order: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Longest first, within windows where the order is shuffled."""
        window = WINDOW * self.batch_size if self.shuffle else max(self.clips, 1)
        parts = [order[first : first + window] for first in range(0, self.clips, window)]
        return np.concatenate([order[:0], *(part[np.argsort(-lengths[part], kind="stable")] for part in parts)])

    def _starts(self) -> list[int]:
        """Where batches begin. In training, a single clip at the end joins the batch before: batch statistics of
        one short clip would be noise, or of a single frame impossible."""
        starts = list(range(0, self.clips, self.batch_size))
        if self.shuffle and len(starts) > 1 and self.clips - starts[-1] == 1:
            starts.pop()
        return starts


def padded_share(lengths: Sequence[int] | np.ndarray, batches: Iterable[Sequence[int]]) -> float:
    """Share of the positions [B, N] of all batches that is padding. `batches` hold indices into `lengths`."""
    used = positions = 0
    for batch in batches:
        steps = [int(lengths[index]) for index in batch]
        used += sum(steps)
        positions += len(steps) * max(steps)
    return 1 - used / positions if positions else 0.0
