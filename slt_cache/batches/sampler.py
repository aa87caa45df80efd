"""Order of the clips of an epoch, each of which occurs once unless a mixture says otherwise."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler

from slt_cache.batches.mixture import Mixture

WINDOW = 25
"""Shuffled batches that are sorted by length together. More would reduce padding, but the same clips would meet every
epoch."""


class Shard(NamedTuple):
    """Shard of every batch that one of several processes gets."""

    rank: int = 0
    world_size: int = 1


WHOLE = Shard()


class ShortFirst(NamedTuple):
    """Curriculum: in the first epochs, batches go from the shortest clips to the longest."""

    lengths: Sequence[int]
    """Length of each clip."""
    epochs: int


class EpochOrder(Sampler[list[tuple[int, int]]]):
    """Sampler of batches of (epoch, index). The epoch is included so that a worker can seed itself: everything random
    follows from (seed, epoch, index), so any epoch can be repeated exactly; with `first` it starts at that batch, and
    earlier clips are not read.

    With a `mixture`, clips occur as often as it says; an index from the number of clips on is one that occurs again.

    With `lengths`, one per clip, a batch holds clips of similar length: shuffled, sorted within windows, and the
    batches shuffled. Without shuffling the longest clips come first, so that running out of memory shows at once.

    With several processes each gets its `shard` of every batch, and together they see what one alone would. A process
    without a clip gets the batch's first, so that it can take part; `idle` marks batches that must not count."""

    def __init__(
        self,
        clips: int,
        batch_size: int,
        seed: int,
        shuffle: bool,
        lengths: Sequence[int] | np.ndarray | None = None,
        shard: Shard = WHOLE,
        short_first: ShortFirst | None = None,
        mixture: Mixture | None = None,
    ):
        self.mixture = mixture
        self.clips = clips
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.lengths = None if lengths is None else np.asarray(lengths)
        self.shard = shard
        self.short_first = short_first
        self.epoch = 0
        self.first = 0

    def __len__(self) -> int:
        """Returns the number of batches per epoch."""
        return len(self._starts())

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        rank, world_size = self.shard
        for batch in self._batches()[self.first :]:
            mine = batch[rank::world_size] if rank < len(batch) else batch[:1]
            yield [(self.epoch, int(index)) for index in mine]

    def idle(self) -> set[int]:
        """Returns the indices of this epoch's batches in which this process only has another's clip."""
        if self.shard.world_size == 1:
            return set()
        return {number for number, batch in enumerate(self._batches()) if len(batch) <= self.shard.rank}

    def _batches(self) -> list[np.ndarray]:
        """Returns the batches of all processes, over the whole epoch."""
        random = np.random.default_rng((self.seed, self.epoch))
        order = np.arange(self.clips) if self.mixture is None else self.mixture.epoch(self.epoch)
        if self.shuffle:
            random.shuffle(order)
        curriculum, lengths = self.short_first, self.lengths
        if curriculum is not None and self.epoch <= curriculum.epochs:
            order = order[np.argsort(np.asarray(curriculum.lengths)[order % self.clips], kind="stable")]
            lengths = None  # these batches stay in their order
        elif lengths is not None:
            order = self._by_length(order, lengths)
        starts = self._starts()
        batches = [order[first:last] for first, last in zip(starts, [*starts[1:], self.clips], strict=False)]
        if self.shuffle and lengths is not None:
            batches = [batches[batch] for batch in random.permutation(len(batches))]
        return batches

    def _by_length(self, order: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Sorts by length, longest first, within windows if the order is shuffled."""
        window = WINDOW * self.batch_size if self.shuffle else max(self.clips, 1)
        parts = [order[first : first + window] for first in range(0, self.clips, window)]
        by_length = (part[np.argsort(-lengths[part % self.clips], kind="stable")] for part in parts)
        return np.concatenate([order[:0], *by_length])

    def _starts(self) -> list[int]:
        """Returns the start of each batch. In training a single last clip joins the batch before, since batch
        statistics of one short clip would be noise, and those of a single frame impossible."""
        starts = list(range(0, self.clips, self.batch_size))
        if self.shuffle and len(starts) > 1 and self.clips - starts[-1] == 1:
            starts.pop()
        return starts


def padding_fraction(lengths: Sequence[int] | np.ndarray, batches: Iterable[Sequence[int]]) -> float:
    """Returns the fraction of all batch positions [B, N] that is padding. `batches` hold indices into `lengths`."""
    used = positions = 0
    for batch in batches:
        steps = [int(lengths[index]) for index in batch]
        used += sum(steps)
        positions += len(steps) * max(steps)
    return 1 - used / positions if positions else 0.0
