"""Target sentences as the decoder sees them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from slt_cache.models.translators import IGNORED
from slt_cache.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Targets:
    """Decoder input `start tokens` and labels `tokens </s>`, shifted by one step."""

    decoder_input_ids: torch.Tensor
    """Decoder input, int64 [B, L], padded with the tokenizer's padding."""
    labels: torch.Tensor
    """Labels, int64 [B, L]; IGNORED on start tokens and padding."""

    @property
    def tokens(self) -> int:
        """Number of target tokens that count in the loss."""
        return int((self.labels != IGNORED).sum())

    @property
    def clips(self) -> int:
        """Number of clips that count in the loss."""
        return int((self.labels != IGNORED).any(1).sum())

    def uncounted(self) -> "Targets":
        """Returns the same targets with no token counting in the loss."""
        return Targets(self.decoder_input_ids, torch.full_like(self.labels, IGNORED))

    def to(self, device: torch.device) -> "Targets":
        return Targets(self.decoder_input_ids.to(device), self.labels.to(device))


def make_targets(sentences: Sequence[Sequence[int] | np.ndarray], tokenizer: Tokenizer) -> Targets:
    """Makes padded decoder inputs and labels from the token ids of each sentence."""
    start, eos, first = tokenizer.start, tokenizer.eos, len(tokenizer.start)
    shape = (len(sentences), first + max(map(len, sentences)))
    inputs, labels = np.full(shape, tokenizer.pad, np.int64), np.full(shape, IGNORED, np.int64)
    inputs[:, :first] = start
    for row, ids in enumerate(sentences):
        end = first + len(ids)
        inputs[row, first:end] = ids
        labels[row, first - 1 : end - 1] = ids
        labels[row, end - 1] = eos
    return Targets(torch.from_numpy(inputs), torch.from_numpy(labels))


class SentenceTargets:
    """Targets of sentences, with tokenization cached, since every epoch repeats it."""

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer = tokenizer
        self._tokens: dict[str, np.ndarray] = {}

    def __call__(self, texts: Sequence[str]) -> Targets:
        return make_targets([self._tokenize(text) for text in texts], self.tokenizer)

    def _tokenize(self, text: str) -> np.ndarray:
        if text not in self._tokens:
            self._tokens[text] = np.array(self.tokenizer.encode(text), np.int64)
        return self._tokens[text]
