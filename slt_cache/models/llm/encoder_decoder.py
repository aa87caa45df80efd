"""Encoder-decoders as translators: the encoder reads the video in place of a source sentence, the decoder attends to
it."""

import math
from typing import Any

import torch
from torch import nn
from transformers.models.m2m_100.modeling_m2m_100 import M2M100SinusoidalPositionalEmbedding

from slt_cache.device import moved
from slt_cache.errors import InputError
from slt_cache.models.adapter import Moments
from slt_cache.text.target_start import LanguagePrefix

Languages = torch.Tensor | None
"""Place of each clip's language in the prefixes, int64 [B]; None if there is only one."""


def start_ids(
    start: tuple[int, ...], prefixes: tuple[LanguagePrefix, ...], languages: Languages, lengths: torch.Tensor
) -> torch.Tensor:
    """Returns the decoder prefix of each clip, int64 [B, S], on the device of the `lengths` [B]. Raises InputError if
    there are several languages and none is named."""
    if languages is not None:
        return torch.tensor([prefix.start for prefix in prefixes], device=lengths.device)[languages]
    if len(prefixes) > 1:
        names = ", ".join(prefix.language for prefix in prefixes)
        raise InputError(f"the model writes {names}. Name the language of each clip.")
    return torch.tensor([start], device=lengths.device).expand(len(lengths), -1)


class EncoderDecoder:
    """Calls of an encoder-decoder by `SignTranslator`; decoder_only.py has the same methods."""

    def __init__(self, seq2seq: Any, start: tuple[int, ...], prefixes: tuple[LanguagePrefix, ...] = ()):
        self.seq2seq = seq2seq
        self.starts = tuple(prefix.start for prefix in prefixes) or (start,)
        self.width: int = seq2seq.config.hidden_size
        """Width D of the embeddings."""
        # A scaled word embedding multiplies what it looks up, but not embeddings passed in.
        scaled = getattr(seq2seq.config, "scale_embedding", False)
        self.scale = math.sqrt(self.width) if scaled else 1.0
        """Factor of the adapter's output."""
        self.words: Moments | None = None
        """Moments with which sign embeddings start; None without LayerNorm."""
        table = getattr(seq2seq.get_decoder(), "embed_positions", None)
        if isinstance(table, M2M100SinusoidalPositionalEmbedding) and any(
            table.padding_idx in start for start in self.starts
        ):
            # T5's start is padding, which has no position in M2M100 (Light-T is one): the tokens after it would be
            # numbered differently in search, token by token, than in training, all at once. No id is -1.
            table.padding_idx = -1

    @property
    def positions(self) -> int | None:
        """Number of steps that there are positions for; None if unlimited."""
        table = getattr(self.seq2seq.get_encoder(), "embed_positions", None)
        last: int | None = getattr(self.seq2seq.config, "max_position_embeddings", None)
        return last if isinstance(table, nn.Embedding) else None

    @property
    def target_positions(self) -> int | None:
        """Number of target tokens that there are positions for; None if unlimited."""
        return self.positions

    def logits(
        self, embeds: torch.Tensor, mask: torch.Tensor, decoder_input_ids: torch.Tensor, languages: Languages = None
    ) -> torch.Tensor:
        """Computes logits [B, L, V] from sign embeddings [B, N, D], their mask [B, N], which may be on the CPU, and
        token ids [B, L], which begin with the code of the language."""
        return self.read(embeds, mask, decoder_input_ids)[0]

    def read(
        self, embeds: torch.Tensor, mask: torch.Tensor, decoder_input_ids: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Computes the same logits; also returns the encoder's hidden states [B, N, D]."""
        mask = moved(mask, embeds.device)
        found = self.seq2seq(
            inputs_embeds=embeds, attention_mask=mask, decoder_input_ids=decoder_input_ids, use_cache=False
        )
        return found.logits, found.encoder_last_hidden_state

    def generate(
        self, embeds: torch.Tensor, mask: torch.Tensor, start: torch.Tensor, languages: Languages = None, **options: Any
    ) -> Any:
        """Runs transformers' `generate` with the decoder prefix [B, S], which its sequences begin with. The encoder
        runs once per clip for any number of beams."""
        return self.seq2seq.generate(
            inputs_embeds=embeds,
            attention_mask=mask,
            decoder_input_ids=start,
            # transformers would put it in front if no sequence began with it.
            decoder_start_token_id=self.starts[0][0] if languages is None else start[:, 0].tolist(),
            return_dict_in_generate=True,
            **options,
        )

    def attention(
        self, embeds: torch.Tensor, mask: torch.Tensor, decoder_input_ids: torch.Tensor, languages: Languages = None
    ) -> torch.Tensor:
        """Computes the cross-attention of each token, mean over heads and layers: [B, L, N], each row sums to 1.
        Requires the `eager` implementation of attention."""
        # Encoder and decoder are called separately to keep no encoder attention, [B, heads, N, N] per layer, and to
        # compute no logits, [B, L, V].
        states = self.seq2seq.get_encoder()(inputs_embeds=embeds, attention_mask=mask).last_hidden_state
        layers = self.seq2seq.get_decoder()(
            input_ids=decoder_input_ids,
            encoder_hidden_states=states,
            encoder_attention_mask=mask,
            use_cache=False,
            output_attentions=True,
        ).cross_attentions  # per layer [B, heads, L, N]
        return torch.stack([layer.float().mean(1) for layer in layers]).mean(0)

    def states(
        self, embeds: torch.Tensor, mask: torch.Tensor, decoder_input_ids: torch.Tensor, languages: Languages = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Computes the last hidden states of the encoder, [B, N, D], and of the decoder, [B, L, D]."""
        video = self.seq2seq.get_encoder()(inputs_embeds=embeds, attention_mask=mask).last_hidden_state
        found = self.seq2seq.get_decoder()(
            input_ids=decoder_input_ids, encoder_hidden_states=video, encoder_attention_mask=mask, use_cache=False
        )
        return video, found.last_hidden_state
