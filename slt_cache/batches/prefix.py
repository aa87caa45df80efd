"""Sentences in batches, each after some of its words, from which it can be restored. Text only.

The noise is that of Lample et al. 2018, 2.3 (Unsupervised Machine Translation Using Monolingual Corpora Only): words
are omitted at random, and the others leave their places by a few words at most. So do the signs of a clip: they name
some words of its sentence, in an order of their own."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch

from slt_cache.batches.denoising import words_of
from slt_cache.batches.mixture import Mixture
from slt_cache.batches.sampler import WHOLE, Shard
from slt_cache.batches.targets import Targets
from slt_cache.batches.text import TextBatch, TextBatches
from slt_cache.device import moved
from slt_cache.text.tokenizer import Tokenizer

SHIFT = 3
"""Words; a word moves by at most this many places (Lample et al. 2018, 2.3)."""


@dataclass(frozen=True)
class PrefixBatch(TextBatch):
    """B sentences, each with some of its words."""

    words: torch.Tensor
    """Token ids of the words, int64 [B, N], padded at the beginning."""
    mask: torch.Tensor
    """int64 [B, N]: 1 on tokens, 0 on padding."""

    def to(self, device: torch.device) -> "PrefixBatch":
        return PrefixBatch(self.ids, self.targets.to(device), moved(self.words, device), moved(self.mask, device))


class PrefixBatches(TextBatches):
    """Iterable over the batches of an epoch; the noise follows from (seed, epoch, sentence)."""

    counted = "tokens with all of its words before it"

    def __init__(
        self,
        sentences: Sequence[str],
        tokenizer: Tokenizer,
        *,
        omitted: float,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = True,
        shard: Shard = WHOLE,
        mixture: Mixture | None = None,
    ):
        """Omits the fraction `omitted` of the words on average."""
        super().__init__(
            sentences, tokenizer, batch_size=batch_size, seed=seed, shuffle=shuffle, shard=shard, mixture=mixture
        )
        self.tokenizer = tokenizer
        self.omitted = omitted
        self.seed = seed
        self.words = [words_of(tokenizer.encode(sentence), tokenizer) for sentence in sentences]
        self.lengths = [2 * length for length in self.lengths]  # all of its words may stand before it

    def batch_of(self, items: Sequence[tuple[int, int]], targets: Targets) -> PrefixBatch:
        noisy = [self._noisy(epoch, index) for epoch, index in items]
        longest = max(map(len, noisy))
        words = torch.tensor([[self.tokenizer.pad] * (longest - len(ids)) + ids for ids in noisy], dtype=torch.long)
        lengths = torch.tensor([len(ids) for ids in noisy])
        mask = (torch.arange(longest) >= longest - lengths.unsqueeze(1)).long()
        return PrefixBatch(super().batch_of(items, targets).ids, targets, words.view(len(noisy), longest), mask)

    def _noisy(self, epoch: int, index: int) -> list[int]:
        """Returns the tokens of the words that stay, in their new order; there may be none."""
        random = np.random.default_rng((self.seed, epoch, index))
        words = self.words[index % len(self.words)]
        places = np.arange(len(words)) + random.uniform(0, SHIFT + 1, len(words))
        stays = random.random(len(words)) >= self.omitted
        return list(chain.from_iterable(words[place] for place in np.argsort(places, kind="stable") if stays[place]))
