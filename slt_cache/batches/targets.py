"""Target sentences as the decoder sees them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from slt_cache.device import moved
from slt_cache.models.translators import IGNORED
from slt_cache.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Targets:
    """Decoder input `start tokens` and labels `tokens </s>`, shifted by one step."""

    decoder_input_ids: torch.Tensor
    """Decoder input, int64 [B, L], padded with the tokenizer's padding."""
    labels: torch.Tensor
    """Labels, int64 [B, L]; IGNORED on start tokens and padding."""
    languages: torch.Tensor | None = None
    """Place of each sentence's language in the tokenizer's prefixes, int64 [B], on the CPU; None if there is only
    one."""
    copied: "Targets | None" = None
    """The same targets on the CPU, if these are their copy on a device."""

    @property
    def readable(self) -> "Targets":
        """The same targets where reading them does not wait for a GPU."""
        return self.copied or self

    @property
    def tensors(self) -> list[torch.Tensor]:
        """All tensors."""
        own = [self.decoder_input_ids, self.labels]
        return own if self.languages is None else [*own, self.languages]

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
        return replace(self, labels=torch.full_like(self.labels, IGNORED), copied=None)

    def to(self, device: torch.device) -> "Targets":
        inputs, labels = moved(self.decoder_input_ids, device), moved(self.labels, device)
        return Targets(inputs, labels, self.languages, self.readable)

    def pin_memory(self) -> "Targets":
        return Targets(self.decoder_input_ids.pin_memory(), self.labels.pin_memory(), self.languages)


def make_targets(
    sentences: Sequence[Sequence[int] | np.ndarray], tokenizer: Tokenizer, languages: Sequence[str] = ()
) -> Targets:
    """Makes padded decoder inputs and labels from the token ids of each sentence. If the tokenizer tells several
    languages apart, each sentence begins as its language does. Raises InputError for an unknown language."""
    rows = languages_of(tokenizer, languages)
    start, eos, first = tokenizer.start, tokenizer.eos, len(tokenizer.start)
    shape = (len(sentences), first + max(map(len, sentences)))
    inputs, labels = np.full(shape, tokenizer.pad, np.int64), np.full(shape, IGNORED, np.int64)
    inputs[:, :first] = start if rows is None else np.array([prefix.start for prefix in tokenizer.prefixes])[rows]
    for row, ids in enumerate(sentences):
        end = first + len(ids)
        inputs[row, first:end] = ids
        labels[row, first - 1 : end - 1] = ids
        labels[row, end - 1] = eos
    return Targets(torch.from_numpy(inputs), torch.from_numpy(labels), rows)


def languages_of(tokenizer: Tokenizer, languages: Sequence[str]) -> torch.Tensor | None:
    """Returns the place of each language in the tokenizer's prefixes, int64 [B]; None if there is only one. Raises
    InputError for an unknown language, and if several are possible and none is given."""
    rows = tokenizer.rows_of(languages or [""])
    return None if rows is None else torch.tensor(rows)


class SentenceTargets:
    """Targets of sentences, with tokenization cached, since every epoch repeats it."""

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer = tokenizer
        self._tokens: dict[str, np.ndarray] = {}

    def __call__(self, texts: Sequence[str], languages: Sequence[str] = ()) -> Targets:
        return make_targets([self._tokenize(text) for text in texts], self.tokenizer, languages)

    def _tokenize(self, text: str) -> np.ndarray:
        if text not in self._tokens:
            self._tokens[text] = np.array(self.tokenizer.encode(text), np.int64)
        return self._tokens[text]
