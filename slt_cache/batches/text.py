"""Sentences in batches, for training a language model. Text only."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from slt_cache.batches.mixture import Mixture
from slt_cache.batches.sampler import WHOLE, EpochOrder, Shard
from slt_cache.batches.targets import SentenceTargets, Targets
from slt_cache.errors import InputError
from slt_cache.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class TextBatch:
    """B sentences."""

    ids: tuple[str, ...]
    targets: Targets

    @property
    def size(self) -> int:
        """Tokens to predict."""
        return self.targets.tokens

    def to(self, device: torch.device) -> "TextBatch":
        return TextBatch(self.ids, self.targets.to(device))


class TextBatches:
    """Iterable over the batches of an epoch, whose order follows from (seed, epoch). A batch holds sentences of similar
    length."""

    counted = "tokens"
    """What `lengths` count, in errors."""

    def __init__(
        self,
        sentences: Sequence[str],
        tokenizer: Tokenizer,
        *,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = True,
        shard: Shard = WHOLE,
        mixture: Mixture | None = None,
    ):
        self.sentences = sentences
        self.targets = SentenceTargets(tokenizer)
        self.lengths = [len(tokenizer.encode(sentence)) + len(tokenizer.start) for sentence in sentences]
        self.order = EpochOrder(len(sentences), batch_size, seed, shuffle, self.lengths, shard, mixture=mixture)

    def __len__(self) -> int:
        """Batches of an epoch."""
        return len(self.order)

    def require_positions(self, positions: int | None) -> None:
        """Raises InputError that names the first sentence with more tokens than the LLM has positions."""
        for number, length in enumerate(self.lengths, 1):
            if positions is not None and length > positions:
                raise InputError(
                    f"pre-training text, sentence {number} ({self.sentences[number - 1][:40]!r} ...): {length} "
                    f"{self.counted}, too long for the {positions} positions of the LLM. Break it into several lines."
                )

    def epoch(self, epoch: int, first: int = 0) -> Iterator[TextBatch]:
        """Yields the batches of an epoch, from number `first` on."""
        self.order.epoch, self.order.first = epoch, first
        idle = self.order.idle()
        for number, items in enumerate(self.order, first):
            targets = self.targets([self.sentences[index % len(self.sentences)] for _, index in items])
            yield self.batch_of(items, targets.uncounted() if number in idle else targets)

    def batch_of(self, items: Sequence[tuple[int, int]], targets: Targets) -> TextBatch:
        """Makes the batch of these (epoch, index), of which an index from the number of sentences on occurs again."""
        return TextBatch(tuple(f"sentence {index % len(self.sentences) + 1}" for _, index in items), targets)
