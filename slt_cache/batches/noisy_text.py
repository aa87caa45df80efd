"""Sentences and their noised copies in batches, for denoising pre-training (Liu et al. 2020, 2.2). Text only."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch

from slt_cache.batches.order import EpochOrder
from slt_cache.batches.targets import Targets, make_targets
from slt_cache.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class NoisyBatch:
    """B noised sentences and the sentences to restore."""

    ids: tuple[str, ...]
    input_ids: torch.Tensor
    """int64 [B, N], framed as MBart's source: `tokens </s> <language code>`."""
    mask: torch.Tensor
    """int64 [B, N], 1 on tokens, 0 on padding."""
    targets: Targets

    def to(self, device: torch.device) -> "NoisyBatch":
        return NoisyBatch(self.ids, self.input_ids.to(device), self.mask.to(device), self.targets.to(device))


def infill(
    words: Sequence[Sequence[int]],
    mask: int,
    mask_ratio: float,
    span_mean: float,
    random: np.random.Generator,
) -> list[int]:
    """Text infilling: spans of words, lengths Poisson distributed, each become one mask token, until the share
    `mask_ratio` of the words is gone. A span of length 0 inserts a mask, as in the source. -> token ids"""
    kept: list[Sequence[int] | None] = list(words)
    wanted = round(mask_ratio * len(words))
    gone = 0
    while gone < wanted:
        length = min(int(random.poisson(span_mean)), wanted - gone)
        first = int(random.integers(0, len(kept) - length + 1))
        span = kept[first : first + length]
        gone += sum(word is not None for word in span)
        kept[first : first + length] = [None]
        if length == 0:
            gone += 1  # an insertion counts too, or short sentences would fill up with masks
    return [token for word in kept for token in ([mask] if word is None else word)]


def words_of(ids: Sequence[int], tokenizer: Tokenizer) -> list[list[int]]:
    """Token ids cut into words at the pieces that begin one; in writing without blanks every piece is a word."""
    starts = [tokenizer.starts_word(piece) for piece in ids]
    if sum(starts) <= 1:
        return [[piece] for piece in ids]
    words: list[list[int]] = []
    for piece, start in zip(ids, starts, strict=True):
        if start or not words:
            words.append([])
        words[-1].append(piece)
    return words


class NoisyText:
    """Iterable over the batches of an epoch; the noise follows from (seed, epoch, sentence)."""

    def __init__(
        self,
        sentences: Sequence[str],
        tokenizer: Tokenizer,
        *,
        batch_size: int,
        seed: int,
        mask_ratio: float,
        span_mean: float,
    ):
        self.words = [words_of(tokenizer.encode(sentence), tokenizer) for sentence in sentences]
        self.tokenizer = tokenizer
        self.order = EpochOrder(len(sentences), batch_size, seed, shuffle=True)
        self.seed = seed
        self.mask_ratio = mask_ratio
        self.span_mean = span_mean

    def __len__(self) -> int:
        return len(self.order)

    def epoch(self, epoch: int) -> Iterator[NoisyBatch]:
        self.order.epoch = epoch
        for items in self.order:
            indices = [index for _, index in items]
            noisy = [self._noised(epoch, index) for index in indices]
            input_ids = torch.nn.utils.rnn.pad_sequence(noisy, batch_first=True, padding_value=self.tokenizer.pad)
            lengths = torch.tensor([len(ids) for ids in noisy])
            yield NoisyBatch(
                ids=tuple(f"sentence {index + 1}" for index in indices),
                input_ids=input_ids,
                mask=(torch.arange(input_ids.shape[1]) < lengths.unsqueeze(1)).long(),
                targets=make_targets(
                    [list(chain.from_iterable(self.words[index])) for index in indices], self.tokenizer
                ),
            )

    def _noised(self, epoch: int, index: int) -> torch.Tensor:
        random = np.random.default_rng((self.seed, epoch, index))
        ids = infill(self.words[index], self.tokenizer.mask, self.mask_ratio, self.span_mean, random)
        return torch.tensor([*ids, self.tokenizer.eos, self.tokenizer.language_code()])
