"""Sentences as the decoder sees them."""

from collections.abc import Sequence
from dataclasses import dataclass

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

    def to(self, device: torch.device) -> "Targets":
        return Targets(self.decoder_input_ids.to(device), self.labels.to(device))


def make_targets(sentences: Sequence[Sequence[int]], tokenizer: Tokenizer) -> Targets:
    """Token ids of each sentence -> padded decoder input and labels."""
    start = tokenizer.start
    inputs = [torch.tensor([*start, *ids]) for ids in sentences]
    labels = [torch.tensor([*[IGNORED] * (len(start) - 1), *ids, tokenizer.eos]) for ids in sentences]
    return Targets(
        torch.nn.utils.rnn.pad_sequence(inputs, batch_first=True, padding_value=tokenizer.pad),
        torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=IGNORED),
    )
