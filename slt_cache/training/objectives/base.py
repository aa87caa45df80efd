"""What a term of the loss is given, and what it returns."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NamedTuple

import torch
from torch import nn

from slt_cache.batches.targets import Targets
from slt_cache.device import moved
from slt_cache.models.translators import IGNORED, SignTranslator
from slt_cache.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Setup:
    """Sizes that a term is made for."""

    width: int
    """Width D of the translator's hidden states."""
    tokenizer: Tokenizer
    seed: int = 0
    """Random seed of the training."""
    keep_every: int = 1
    """Frames of the video per kept frame."""


@dataclass(frozen=True)
class Sentences:
    """B sentences as an encoder reads them, `tokens </s>`; in a training on the CPU, where their lengths are known."""

    ids: torch.Tensor
    """Token ids, int64 [B, L], padded at the end."""
    mask: torch.Tensor
    """Bool [B, L], True on tokens."""

    @classmethod
    def of(cls, targets: Targets, tokenizer: Tokenizer) -> "Sentences":
        """Takes the sentences from the decoder's input, which has them even in a batch that does not count."""
        tokens = targets.decoder_input_ids[:, len(tokenizer.start) :]
        lengths = (tokens != tokenizer.pad).sum(1, keepdim=True)
        places = torch.arange(tokens.shape[1] + 1, device=tokens.device)
        ids = torch.cat([tokens, torch.full_like(lengths, tokenizer.pad)], 1)
        return cls(ids.masked_fill(places == lengths, tokenizer.eos), places <= lengths)

    def to(self, device: torch.device) -> "Sentences":
        return Sentences(moved(self.ids, device), moved(self.mask, device))


@dataclass(frozen=True)
class Seen:
    """What the forward pass of a batch of B clips has computed."""

    translator: SignTranslator
    targets: Targets
    sentences: Sentences
    states: torch.Tensor
    """Hidden states of the translator's encoder, [B, N, D]."""
    mask: torch.Tensor
    """Bool [B, N], True on the steps of a clip."""
    frames: tuple[torch.Tensor, ...] = ()
    """Frame-wise features of each clip, [T', C]; empty in a training on cached features."""
    epoch: int = 1

    @cached_property
    def counted(self) -> torch.Tensor:
        """Bool [B], where the sentences are: the clips that count. An idle process has another's clip, which does not
        (batches/sampler.py)."""
        return (self.targets.readable.labels != IGNORED).any(1)

    @cached_property
    def text(self) -> torch.Tensor:
        """Hidden states of the sentences, [B, L, D], by the translator's encoder."""
        return self.encoded(self.sentences)

    def encoded(self, sentences: Sentences) -> torch.Tensor:
        """Returns the hidden states of sentences, [B, L, D], by the translator's encoder."""
        read = sentences.to(self.states.device)
        encoder = self.translator.seq2seq.get_encoder()
        states: torch.Tensor = encoder(input_ids=read.ids, attention_mask=read.mask.long()).last_hidden_state
        return states


class Objective(nn.Module):
    """Term of the loss besides the cross-entropy. Its weights are trained and saved with the state of the training, and
    belong to no exported model."""

    per: ClassVar[str] = "clips"
    """What its value is a mean over: clips or tokens, of all processes and micro-batches of an optimizer step."""

    def __call__(self, seen: Seen) -> torch.Tensor:
        """Returns its value, summed over this process's clips (or tokens) that count: a scalar, float32."""
        value: torch.Tensor = super().__call__(seen)
        return value


class Term(NamedTuple):
    """Value of one term for a batch."""

    name: str
    value: torch.Tensor
    """Sum over clips or tokens, a scalar."""
    per: str
    weight: float


class Outputs(NamedTuple):
    """Result of the forward pass of a training with several terms."""

    logits: torch.Tensor
    """[B, L, V]."""
    weight: float
    """Weight of the cross-entropy."""
    terms: tuple[Term, ...]
