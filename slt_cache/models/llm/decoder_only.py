"""Decoder-only LLMs as translators: the video is part of the text that the sentence continues.

The input is `[prompt before the video][sign embeddings][decoder prefix][sentence]`, where the decoder prefix is the
prompt after the video, or else the beginning token. The part before the decoder prefix is padded on the left, the rest
on the right, and position ids skip the padding, so a clip gives the same logits in a batch as alone."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from transformers import Cache

from slt_cache.device import moved
from slt_cache.encoders.packing import pad, unpadded
from slt_cache.errors import InputError, SltCacheError
from slt_cache.models.adapter import Moments
from slt_cache.models.llm.encoder_decoder import Languages
from slt_cache.text.target_start import LanguagePrefix

SENTENCE = 256
"""Number of positions reserved for the sentence if they are limited, but at most a quarter of all; the video has the
rest."""
ROWS = 4096
"""Number of word embeddings looked up at once."""
OFFSETS = range(4)
"""Numbers of rows that tables of learned positions have in addition (OPT: 2)."""


class DecoderOnly:
    """Calls of a decoder-only LLM by `SignTranslator`; encoder_decoder.py has the same methods."""

    def __init__(
        self,
        seq2seq: Any,
        start: tuple[int, ...],
        before: tuple[int, ...] = (),
        prefixes: tuple[LanguagePrefix, ...] = (),
    ):
        """Takes the LLM, the ids of the decoder prefix and those of the prompt before the video, or both for each of
        several languages. Raises InputError if the prompt leaves the video no positions."""
        self.seq2seq = seq2seq
        self.prefixes = prefixes or (LanguagePrefix("", start, before),)
        self.start, self.before = self.prefixes[0].start, self.prefixes[0].before
        self.around = max(len(prefix.before) + len(prefix.after) for prefix in self.prefixes)
        """Most tokens of a prompt besides the decoder prefix."""
        self.width: int = seq2seq.get_input_embeddings().weight.shape[1]
        self.scale = 1.0
        # The mean matters: Gemma's words share a large one, and at first it hardly reads embeddings without it.
        self.words: Moments | None = moments_of(seq2seq.get_input_embeddings())
        self._table = limited_positions(seq2seq)
        self._accepted = _arguments(seq2seq)
        if self.positions is not None and self.positions < 1:
            raise InputError(
                f"llm.prompt: its {self.around} tokens before the video leave none of the LLM's {self._table} "
                "positions for the video. Shorten it."
            )

    @property
    def positions(self) -> int | None:
        """Number of steps that there are positions for, besides those of the prompt and of a sentence."""
        table, target = self._table, self.target_positions
        return None if table is None or target is None else table - self.around - target

    @property
    def target_positions(self) -> int | None:
        """Number of target tokens that there are positions for after the longest video."""
        return None if self._table is None else reserved_for_sentence(self._table) + len(self.start)

    def logits(
        self, embeds: torch.Tensor, mask: torch.Tensor, decoder_input_ids: torch.Tensor, languages: Languages = None
    ) -> torch.Tensor:
        """Computes logits [B, L, V] from sign embeddings [B, N, D], their mask [B, N], which may be on the CPU, and
        token ids [B, L]."""
        length = decoder_input_ids.shape[1]
        read = self._read(embeds, mask, decoder_input_ids, languages, keep=length)
        found = self.seq2seq(**read, use_cache=False)
        logits: torch.Tensor = found.logits[:, -length:]
        return logits

    def generate(
        self, embeds: torch.Tensor, mask: torch.Tensor, start: torch.Tensor, languages: Languages = None, **options: Any
    ) -> Any:
        """Runs transformers' `generate` with the decoder prefix [B, S], which its sequences begin with. The video is
        processed once per clip for any number of beams."""
        read = self._read(embeds, mask, start, languages, keep=1)
        asked = {name: read[name] for name in ("inputs_embeds", "attention_mask")}  # it numbers positions itself
        return self.seq2seq.generate(
            input_ids=start, return_dict_in_generate=True, **asked, **self._processed(read, options), **options
        )

    def _processed(self, read: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
        """Returns the keys and values of the whole input but its last position, for each beam, as an argument of
        `generate`, which would compute them per beam. Empty for recurrent models, whose states it cannot continue."""
        name = "cache" if "cache" in self._accepted else "past_key_values"  # before transformers 5.24
        earlier = {key: value[:, :-1] if isinstance(value, torch.Tensor) else value for key, value in read.items()}
        cache = getattr(self.seq2seq(**earlier, use_cache=True), name, None)
        if not isinstance(cache, Cache) or any(getattr(cache, "is_linear", ())):
            return {}
        cache.batch_repeat_interleave(max(options.get("num_beams", 1), options.get("num_return_sequences", 1)))
        return {name: cache}

    def attention(
        self, embeds: torch.Tensor, mask: torch.Tensor, decoder_input_ids: torch.Tensor, languages: Languages = None
    ) -> torch.Tensor:
        """Computes the self-attention of each token to the video, mean over heads and layers, divided by its sum:
        [B, L, N], each row sums to 1. A token that attends to none of the video, which is outside the window of every
        layer, has a uniform row. Computes one clip at a time to keep [heads, T, T] per layer of a single one. Requires
        the `eager` implementation of attention. Raises SltCacheError for a model without attention."""
        length, steps = decoder_input_ids.shape[1], embeds.shape[1]
        rows = []
        which = mask.new_zeros(len(mask)) if languages is None else languages
        for clip, shown, ids, row in zip(embeds, mask.sum(1).tolist(), decoder_input_ids, which, strict=True):
            alone = (clip[None, :shown], mask.new_ones(1, shown), ids[None], row[None])
            found = self.seq2seq(**self._read(*alone, keep=1), use_cache=False, output_attentions=True)
            layers = [one for one in getattr(found, "attentions", None) or () if one is not None]  # [1, heads, T, T]
            if not layers:
                raise SltCacheError(f"{type(self.seq2seq).__name__} has no attention")
            mean = torch.stack([layer[0].float().mean(0) for layer in layers]).mean(0)
            end = mean.shape[1] - length - len(self.prefixes[int(row)].after)  # padding stands at the beginning
            onto = mean[-length:, end - shown : end]  # [L, N of the clip]
            sums = onto.sum(1, keepdim=True)
            onto = torch.where(sums > 0, onto / sums, 1 / shown)
            rows.append(nn.functional.pad(onto, (0, steps - shown)))
        return torch.stack(rows)

    def states(
        self, embeds: torch.Tensor, mask: torch.Tensor, decoder_input_ids: torch.Tensor, languages: Languages = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Computes the last hidden states at the positions of the video, [B, N, D] with zeros after the end of a clip,
        and at those of the tokens, [B, L, D]."""
        length = decoder_input_ids.shape[1]
        read = self._read(embeds, mask, decoder_input_ids, languages, keep=1)
        states = self.seq2seq(**read, use_cache=False, output_hidden_states=True).hidden_states[-1]  # [B, T, D]
        rows = decoder_input_ids.new_zeros(len(mask)) if languages is None else languages
        after = decoder_input_ids.new_tensor([len(prefix.after) for prefix in self.prefixes])[rows]
        ends = (states.shape[1] - length - after).unsqueeze(1)  # padding stands at the beginning
        places = torch.arange(states.shape[1], device=mask.device)
        video = states[(places >= ends - mask.sum(1, keepdim=True)) & (places < ends)]
        return pad(video, mask.bool()), states[:, -length:]

    def _read(
        self, embeds: torch.Tensor, mask: torch.Tensor, ids: torch.Tensor, languages: Languages, keep: int
    ) -> dict[str, Any]:
        """Returns the arguments of the model's `forward` for the whole input and the logits of the last `keep`
        positions."""
        words = self.seq2seq.get_input_embeddings()
        target = words(ids)
        # Whatever decides on shapes is computed where the mask is.
        rows = mask.new_zeros(len(mask)) if languages is None else languages.to(mask.device)
        before, there = _prompts([prefix.before for prefix in self.prefixes], rows)  # [B, P]
        after, also = _prompts([prefix.after for prefix in self.prefixes], rows)  # [B, Q]
        filled = torch.cat([there, mask.bool(), also], 1)
        length = filled.shape[1]
        left = torch.arange(length, device=mask.device) >= length - filled.sum(1, keepdim=True)  # padding first
        before, after = (words(moved(prompt, ids.device)) for prompt in (before, after))
        whole = torch.cat([before, embeds.to(target.dtype), after], 1)
        attended = torch.cat([moved(left, ids.device).long(), torch.ones_like(ids)], 1)
        embedded = torch.cat([pad(unpadded(whole, filled), left), target], 1)
        read = {"inputs_embeds": embedded, "attention_mask": attended}
        wanted = {"position_ids": token_positions(attended), "logits_to_keep": keep}
        return {**read, **{name: value for name, value in wanted.items() if name in self._accepted}}


def _arguments(seq2seq: Any) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(type(seq2seq).forward).parameters


def takes_positions(seq2seq: Any) -> bool:
    """Returns whether the LLM can be told the positions of its input; some count them themselves."""
    return "position_ids" in _arguments(seq2seq)


def token_positions(attended: torch.Tensor) -> torch.Tensor:
    """Returns the position of each token from its attention mask, both int64 [B, T], without padding before it."""
    return (attended.cumsum(1) - 1).clamp(min=0)


def _prompts(prompts: Sequence[tuple[int, ...]], rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the ids of the prompt in each row, int64 [B, P], padded at their ends, and where they are not padding."""
    longest = max(map(len, prompts))
    table = rows.new_tensor([[*prompt, *[0] * (longest - len(prompt))] for prompt in prompts])
    lengths = rows.new_tensor([len(prompt) for prompt in prompts])
    return table[rows], torch.arange(longest, device=rows.device) < lengths[rows].unsqueeze(1)


def reserved_for_sentence(positions: int) -> int:
    """Returns how many of a limited number of positions are reserved for the sentence."""
    return min(SENTENCE, positions // 4)


def limited_positions(seq2seq: Any) -> int | None:
    """Returns the number of positions of a model that has a table of them: learned (GPT-2, OPT), or of fixed numbers
    (GPT-J, MPT). None if they are computed for texts of any length."""
    config = seq2seq.config.get_text_config(decoder=True)
    last: int | None = getattr(config, "max_position_embeddings", None) or getattr(config, "max_seq_len", None)
    words = seq2seq.get_input_embeddings()
    parts = (module for module in seq2seq.modules() if module is not words)
    return last if last and any(_has_table(module, last) for module in parts) else None


def _has_table(module: nn.Module, positions: int) -> bool:
    if isinstance(module, nn.Embedding):
        return module.num_embeddings - positions in OFFSETS
    if hasattr(module, "build_mpt_alibi_tensor"):  # MPT's biases
        return True
    grows = hasattr(module, "make_weights")  # XGLM's sinusoids
    return not grows and any(one.ndim == 2 and one.shape[0] == positions for one in module.buffers(recurse=False))


@torch.no_grad()
def moments_of(words: nn.Module) -> Moments:
    """Returns the moments of a word embedding's output over its whole vocabulary; some LLMs scale it."""
    weight: torch.Tensor = words.weight  # type: ignore[assignment]
    count, width = weight.shape
    total, squares = torch.zeros(2, width, dtype=torch.float64)
    for ids in torch.arange(count, device=weight.device).split(ROWS):
        found = words(ids).double().cpu()
        total += found.sum(0)
        squares += found.square().sum(0)
    mean = total / count
    return Moments(mean, (squares / count - mean.square()).clamp(min=0).sqrt())
