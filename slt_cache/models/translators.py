"""Translators from sign features to sentences: an adapter in place of the word embedding of a language model.

Both stages use this module: VL-Adapter + Light-T in stage 1, LLM-Adapter + LLM in stage 2. llm/encoder_decoder.py and
llm/decoder_only.py contain what differs between the two kinds of LLM. Knows no files, except in `from_pretrained`."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import M2M100Config, M2M100ForConditionalGeneration, PreTrainedModel

from slt_cache.config import TemporalConfig
from slt_cache.config.llm_training import CHANNELS
from slt_cache.device import moved
from slt_cache.encoders.packing import longest, padded, step_mask, unpadded
from slt_cache.encoders.visual_encoder import VisualEncoder
from slt_cache.errors import InputError
from slt_cache.models.adapter import Adapter, StreamAdapter, make_adapter
from slt_cache.models.llm.decoder_only import DecoderOnly
from slt_cache.models.llm.encoder_decoder import EncoderDecoder, start_ids
from slt_cache.models.llm.masks import unread_masks
from slt_cache.models.time_masks import TimeMasks
from slt_cache.text.target_start import LanguagePrefix

if TYPE_CHECKING:
    from pathlib import Path

    from slt_cache.models.saved import SavedTranslator

IGNORED = -100
"""Label of padding, ignored by the loss."""


@dataclass(frozen=True)
class LightTSize:
    layers: int
    """Layers of the encoder and of the decoder."""
    heads: int
    hidden: int
    feed_forward: int


LIGHT_T_SIZES = {
    "tiny": LightTSize(1, 4, 256, 1024),
    "small": LightTSize(2, 4, 512, 2048),
    "base": LightTSize(3, 8, 512, 2048),
    "large": LightTSize(4, 8, 1024, 4096),
}
"""Sizes of Light-T (Chen et al. 2024, table 7)."""


def make_light_t(size: str, vocabulary: int, pad: int, eos: int, dropout: float) -> PreTrainedModel:
    """Makes an untrained Light-T: a pre-norm transformer with sinusoidal positions on both inputs (Chen et al. 2024,
    4.2)."""
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


def kind_of(
    seq2seq: PreTrainedModel,
    start: tuple[int, ...],
    before: tuple[int, ...] = (),
    prefixes: tuple[LanguagePrefix, ...] = (),
) -> EncoderDecoder | DecoderOnly:
    """Returns the object that calls this kind of language model. Raises InputError for a prompt before the video of an
    encoder-decoder."""
    if seq2seq.config.is_encoder_decoder:
        if before:
            raise InputError("llm.prompt: the LLM is an encoder-decoder, which takes no prompt. Omit the setting.")
        return EncoderDecoder(seq2seq, start, prefixes)
    return DecoderOnly(seq2seq, start, before, prefixes)


class SignTranslator(nn.Module):
    """Adapter and LLM (or Light-T): features of clips to logits over target tokens."""

    seq2seq: Any
    """Language model of either kind, a PreTrainedModel; its mixed-in methods are unknown to type checkers."""

    def __init__(
        self,
        dim: int | Sequence[int],
        seq2seq: PreTrainedModel,
        start: tuple[int, ...],
        feature_dropout: float = 0.0,
        step_dropout: float = 0.0,
        channel_dropout: float = 0.0,
        before: tuple[int, ...] = (),
        temporal: TemporalConfig | None = None,
        stream_fusion: str = CHANNELS,
        stream_dropout: float = 0.0,
        prefixes: tuple[LanguagePrefix, ...] = (),
    ):
        """Combines a fresh adapter with a language model. `dim` is C, or that of each stream; `start` are the ids of
        the decoder prefix (text/families.py), `before` those of a decoder-only LLM's prompt before the video
        (text/prompt.py); `prefixes` has both for each of several languages. In training, `feature_dropout` zeroes
        single values and `channel_dropout` whole channels of a clip, scaling up the rest; `step_dropout` zeroes whole
        time steps. The other settings are those of models/adapter.py."""
        super().__init__()
        self.seq2seq = seq2seq
        self.start = start
        self.prefixes = prefixes
        self.kind = kind_of(seq2seq, start, before, prefixes)
        shape = (self.kind.width, self.kind.words, temporal)
        self.adapter: Adapter | StreamAdapter = make_adapter(dim, *shape, stream_fusion, stream_dropout)
        self.feature_dropout = nn.Dropout(feature_dropout)
        self.step_dropout = step_dropout
        self.channel_dropout = channel_dropout
        self.scale = self.kind.scale
        self.time_masks: TimeMasks | None = None
        """Spans of steps that are hidden in training."""

    @classmethod
    def from_pretrained(cls, name: "str | Path", base: "str | Path | None" = None) -> "SavedTranslator":
        """Loads a translator saved by stage 2 from its folder (`llm/best` of a run) or by hub name: in evaluation mode,
        with all that `translate` needs. `base` is the LLM under LoRA, if exported without. Raises InputError."""
        from slt_cache.models.saved import read_translator

        return read_translator(name, base)

    def embed(self, features: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeds features, [sum N, C] or padded [B, N, C], with lengths [B]; of several streams as in
        models/adapter.py. Returns sign embeddings [B, N', D] and their mask, int64 [B, N'], on the device of the
        lengths, where N' is N unless the adapter changes it; embeddings at mask 0 are undefined. A frozen LLM in
        bfloat16 gets them in bfloat16."""
        mask = step_mask(longest(lengths))
        embeds, steps = self.adapter.embed(self._dropped(padded(features, mask), longest(lengths)), lengths)
        embeds = embeds * self.scale
        mask = mask if steps is lengths else step_mask(steps)
        most = None if self.positions is None else self.positions // self.adapter.stride
        self._require_positions(mask.shape[1], most, "steps of features")
        words: torch.Tensor = self.seq2seq.get_input_embeddings().weight
        return (embeds if words.dtype == torch.float32 else embeds.to(words.dtype)), mask.long()

    def _dropped(self, features: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Applies the three dropouts and time masks to features [B, N, C] of these lengths [B] in training. Remaining
        steps are not scaled, since a missing sign does not strengthen the others; remaining channels are, since the
        adapter sums over them (Tompson et al. 2015, 3.2)."""
        features = self.feature_dropout(features)
        clips, steps, channels = features.shape
        if self.training and self.step_dropout > 0:
            features = features * (torch.rand(clips, steps, 1, device=features.device) >= self.step_dropout)
        if self.training and self.channel_dropout > 0:
            ones = torch.ones(clips, 1, channels, device=features.device)
            features = features * F.dropout(ones, self.channel_dropout)  # 0 or 1 / (1 - p) for each channel
        if self.training and self.time_masks is not None:
            features = self.time_masks.apply(features, lengths)
        return features

    def forward(
        self,
        features: torch.Tensor,
        lengths: torch.Tensor,
        decoder_input_ids: torch.Tensor,
        languages: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Computes logits [B, L, V] from features, [sum N, C] or padded [B, N, C], their lengths [B] and token ids [B,
        L]; with several languages, `languages` [B] is the place of each clip's in `prefixes`."""
        self._require_positions(decoder_input_ids.shape[1], self.target_positions, "target tokens")
        return self.kind.logits(*self.embed(features, lengths), decoder_input_ids, languages)

    @cached_property
    def positions(self) -> int | None:
        """Number of steps of features, with several streams fused over time of all together, that the LLM has
        positions for; None if unlimited: the sinusoids of Light-T, M2M100 and NLLB, the relative positions of T5, the
        rotary positions of Llama."""
        return None if self.kind.positions is None else self.kind.positions * self.adapter.stride

    @cached_property
    def target_positions(self) -> int | None:
        """Number of target tokens, including the decoder prefix, that the LLM has positions for; None if unlimited."""
        return self.kind.target_positions

    def steps_of(self, lengths: np.ndarray) -> np.ndarray:
        """Returns, for lengths [rows] or [rows, S], the number of steps that `positions` limits, [rows]."""
        return self.adapter.steps(torch.from_numpy(lengths)).numpy() * self.adapter.stride

    def steps_read(self, lengths: torch.Tensor) -> torch.Tensor:
        """Returns, for lengths [B] or [B, S], how many steps `generate` reads; the LLM has no positions for those at
        the end."""
        return lengths if self.positions is None else self.adapter.truncated(lengths, self.positions)

    def steps_left_out(self, lengths: torch.Tensor) -> torch.Tensor:
        """Returns, for lengths [B] or [B, S], the number of steps at the end of each clip that `generate` does not
        read, [B]; of the stream that loses most."""
        return longest(lengths - self.steps_read(lengths))

    def _require_positions(self, length: int, positions: int | None, what: str) -> None:
        if positions is not None and length > positions:
            raise InputError(
                f"a clip has {length} {what}, but the LLM has only {positions} positions for them. "
                "Split the video into shorter clips."
            )

    def hidden(self, features: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Computes the encoder's hidden states, packed [sum N, D], from features, [sum N, C] or padded [B, N, C], and
        lengths [B]."""
        embeds, mask = self.embed(features, lengths)
        attended = moved(mask, embeds.device)
        with unread_masks(embeds.device):
            states = self.seq2seq.get_encoder()(inputs_embeds=embeds, attention_mask=attended).last_hidden_state
        return unpadded(states, mask)

    @torch.no_grad()
    def generate(
        self, features: torch.Tensor, lengths: torch.Tensor, languages: torch.Tensor | None = None, **options: Any
    ) -> Any:
        """Generates from features, [sum N, C] or padded [B, N, C], with lengths [B], starting with the decoder prefix;
        with several languages, `languages` [B] is the place of each clip's in `prefixes`. `options` are those of
        transformers' `generate`. Input and output are limited to the LLM's positions. Raises InputError if it writes
        several languages and none is named."""
        features, lengths = self.truncated(features, lengths)
        if self.target_positions is not None:
            room = self.target_positions + 1 - len(self.start)  # the last token is written and not read
            options["max_new_tokens"] = min(options.get("max_new_tokens", room), room)
        embeds, mask = self.embed(features, lengths)
        start = start_ids(self.start, self.prefixes, languages, lengths)
        return self.kind.generate(embeds, mask, start, languages, **options)

    def truncated(self, features: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Drops the steps beyond the last position, to which a single long clip would otherwise pad all others, from
        features in either form and lengths. Returns both."""
        if self.positions is None:
            return features, lengths
        read = self.steps_read(lengths)
        if features.dim() == 3:
            features = features[:, : int(read.max())]
        else:
            clips = features.split(longest(lengths).tolist())
            features = torch.cat([clip[:most] for clip, most in zip(clips, longest(read).tolist(), strict=True)])
        return features, read


class VisualTranslator(nn.Module):
    """Visual encoder and translator, end to end: VL-Adapter and Light-T in stage 1, an LLM in joint training."""

    def __init__(self, encoder: VisualEncoder, translator: SignTranslator):
        super().__init__()
        self.encoder = encoder
        self.translator = translator
        self._frozen: tuple[nn.Module, ...] = ()

    def freeze(self, part: nn.Module) -> None:
        """Freezes a part: no gradients, and its batch norms use their running statistics in training too."""
        part.requires_grad_(False)
        self._frozen = (*self._frozen, part.eval())

    def train(self, mode: bool = True) -> "VisualTranslator":
        super().train(mode)
        for part in self._frozen:
            part.eval()
        return self

    def forward(
        self,
        frames: torch.Tensor,
        lengths: torch.Tensor,
        decoder_input_ids: torch.Tensor,
        languages: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Computes logits [B, L, V] from frames, uint8 [sum T', 3, S, S], their lengths [B] and token ids [B, L];
        `languages` as for SignTranslator."""
        logits: torch.Tensor = self.translator(self.encoder(frames, lengths), lengths, decoder_input_ids, languages)
        return logits


def token_loss(logits: torch.Tensor, labels: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Returns the cross-entropy summed over the target tokens, ignoring padding (method.md, loss)."""
    return F.cross_entropy(
        logits.float().flatten(0, 1),
        labels.flatten(),
        ignore_index=IGNORED,
        label_smoothing=smoothing,
        reduction="sum",
    )
