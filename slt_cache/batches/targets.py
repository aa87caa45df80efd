"""Sentences as the decoder sees them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from slt_cache.models.sign_translator import IGNORED
from slt_cache.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Targets:
    """Decoder input `start tokens` and labels `tokens </s>`, one step apart."""

    decoder_input_ids: torch.Tensor
    """int64 [B, L]; padded with the tokenizer's padding."""
    labels: torch.Tensor
    """int64 [B, L]; IGNORED on start tokens and padding."""

    @property
    def tokens(self) -> int:
        """Target tokens that count in the loss."""
        return int((self.labels != IGNORED).sum())

    def uncounted(self) -> "Targets":
        """The same, of which no token counts in the loss."""
        return Targets(self.decoder_input_ids, torch.full_like(self.labels, IGNORED))

    def to(self, device: torch.device) -> "Targets":
        return Targets(self.decoder_input_ids.to(device), self.labels.to(device))


def make_targets(sentences: Sequence[Sequence[int]], tokenizer: Tokenizer) -> Targets:
    """Token ids of each sentence -> padded decoder input and labels."""
    start, eos, pad = tokenizer.start, tokenizer.eos, tokenizer.pad
    longest = max(map(len, sentences))
    before = [IGNORED] * (len(start) - 1)
    inputs = [[*start, *ids, *[pad] * (longest - len(ids))] for ids in sentences]
    labels = [[*before, *ids, eos, *[IGNORED] * (longest - len(ids))] for ids in sentences]
    return Targets(_tensor(inputs), _tensor(labels))


def _tensor(rows: list[list[int]]) -> torch.Tensor:
    return torch.from_numpy(np.array(rows, np.int64))  # torch takes longer over lists of lists


class SentenceTargets:
    """Sentences -> Targets; remembers the pieces of each, since every epoch asks for them again."""

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer = tokenizer
        self._pieces: dict[str, list[int]] = {}

    def __call__(self, texts: Sequence[str]) -> Targets:
        return make_targets([self._cut(text) for text in texts], self.tokenizer)

    def _cut(self, text: str) -> list[int]:
        if text not in self._pieces:
            self._pieces[text] = self.tokenizer.encode(text)
        return self._pieces[text]
