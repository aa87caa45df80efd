"""Sign features in, sentences out: an adapter in place of the word embedding of an encoder-decoder.

Both stages are this module: VL-Adapter + Light-T in stage 1, LLM-Adapter + MBart in stage 2. Knows no files."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import M2M100Config, M2M100ForConditionalGeneration, PreTrainedModel

from slt_cache.errors import InputError
from slt_cache.models.packing import pad, step_mask
from slt_cache.models.visual_encoder import VisualEncoder

IGNORED = -100
"""Label of padding, left out of the loss."""


@dataclass(frozen=True)
class LightTSize:
    layers: int
    """Of the encoder and of the decoder."""
    heads: int
    hidden: int
    feed_forward: int


LIGHT_T_SIZES = {
    "tiny": LightTSize(1, 4, 256, 1024),
    "small": LightTSize(2, 4, 512, 2048),
    "base": LightTSize(3, 8, 512, 2048),
    "large": LightTSize(4, 8, 1024, 4096),
}
"""(Chen et al. 2024, table 7)"""


class Adapter(nn.Module):
    """MLP with one hidden layer, visual space C -> text space D: VL-Adapter and LLM-Adapter alike."""

    def __init__(self, dim_in: int, dim_out: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(dim_in, dim_out), nn.ReLU(), nn.Linear(dim_out, dim_out))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[..., C] -> [..., D]"""
        return self.mlp(features)


def make_light_t(size: str, vocabulary: int, pad: int, eos: int, dropout: float) -> PreTrainedModel:
    """Light-T from scratch: a pre-norm transformer with sinusoidal positions on both inputs (method.md, stage 1)."""
    shape = LIGHT_T_SIZES[size]
    config = M2M100Config(
        vocab_size=vocabulary,
        d_model=shape.hidden,
        encoder_layers=shape.layers,
        decoder_layers=shape.layers,
        encoder_attention_heads=shape.heads,
        decoder_attention_heads=shape.heads,
        encoder_ffn_dim=shape.feed_forward,
        decoder_ffn_dim=shape.feed_forward,
        dropout=dropout,
        attention_dropout=0.0,
        activation_dropout=0.0,
        encoder_layerdrop=0.0,
        decoder_layerdrop=0.0,
        scale_embedding=True,
        pad_token_id=pad,
        eos_token_id=eos,
        bos_token_id=None,
        decoder_start_token_id=eos,
    )
    return M2M100ForConditionalGeneration(config)


class SignTranslator(nn.Module):
    """Adapter + encoder-decoder: features of clips -> logits over target tokens."""

    seq2seq: Any  # a PreTrainedModel; its mixed-in methods are unknown to type checkers

    def __init__(self, dim: int, seq2seq: PreTrainedModel, start: tuple[int, ...], feature_dropout: float = 0.0):
        """`dim` is C; `start` are the ids that decoding begins with, for MBart the language code alone."""
        super().__init__()
        self.seq2seq = seq2seq
        self.start = start
        width: int = seq2seq.config.hidden_size
        self.adapter = Adapter(dim, width)
        self.feature_dropout = nn.Dropout(feature_dropout)
        # A scaled word embedding multiplies what it looks up; embeddings that come ready-made are not scaled.
        scaled = getattr(seq2seq.config, "scale_embedding", False)
        self.scale = math.sqrt(width) if scaled else 1.0

    def embed(self, features: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[sum N, C], [B] -> sign embeddings [B, N, D] and their mask, int64 [B, N]"""
        self._require_positions(int(lengths.max()), "steps of features")
        embedded = self.adapter(self.feature_dropout(features)) * self.scale
        return pad(embedded, lengths), step_mask(lengths).long()

    def forward(self, features: torch.Tensor, lengths: torch.Tensor, decoder_input_ids: torch.Tensor) -> torch.Tensor:
        """[sum N, C], [B], [B, L] -> logits [B, L, V]"""
        self._require_positions(decoder_input_ids.shape[1], "target tokens")
        embeds, mask = self.embed(features, lengths)
        return self.seq2seq(
            inputs_embeds=embeds, attention_mask=mask, decoder_input_ids=decoder_input_ids, use_cache=False
        ).logits

    def _require_positions(self, length: int, what: str) -> None:
        """Learned positions end somewhere; Light-T's sinusoids do not."""
        config = self.seq2seq.config
        if not isinstance(config, M2M100Config) and length > config.max_position_embeddings:
            raise InputError(
                f"a clip has {length} {what}, and the LLM positions for {config.max_position_embeddings}. "
                "Cut the video into shorter clips."
            )

    def hidden(self, features: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Hidden states of the encoder, packed: [sum N, C], [B] -> [sum N, D]"""
        embeds, mask = self.embed(features, lengths)
        encoder = self.seq2seq.get_encoder()
        states = encoder(inputs_embeds=embeds, attention_mask=mask).last_hidden_state
        return states[mask.bool()]

    @torch.no_grad()
    def generate(self, features: torch.Tensor, lengths: torch.Tensor, **options: Any) -> Any:
        """Decodes from the start tokens; `options` are those of transformers' `generate`."""
        embeds, mask = self.embed(features, lengths)
        start = torch.tensor([self.start], device=embeds.device).expand(len(lengths), -1)
        return self.seq2seq.generate(
            inputs_embeds=embeds,
            attention_mask=mask,
            decoder_input_ids=start,
            decoder_start_token_id=self.start[0],
            return_dict_in_generate=True,
            **options,
        )


class VisualTranslator(nn.Module):
    """Stage 1: visual encoder + VL-Adapter + Light-T, trained end to end."""

    def __init__(self, encoder: VisualEncoder, translator: SignTranslator):
        super().__init__()
        self.encoder = encoder
        self.translator = translator

    def forward(self, frames: torch.Tensor, lengths: torch.Tensor, decoder_input_ids: torch.Tensor) -> torch.Tensor:
        """uint8 [sum T', 3, S, S], [B], [B, L] -> logits [B, L, V]"""
        return self.translator(self.encoder(frames, lengths), lengths, decoder_input_ids)


def token_loss(logits: torch.Tensor, labels: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Cross-entropy summed over the target tokens; padding (IGNORED) counts nothing (method.md, loss)."""
    return F.cross_entropy(
        logits.float().flatten(0, 1),
        labels.flatten(),
        ignore_index=IGNORED,
        label_smoothing=smoothing,
        reduction="sum",
    )
