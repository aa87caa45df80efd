"""Features and a sentence in, which steps each word of it looked at out: the cross-attention of the decoder.

Explains nothing by itself: where a decoder looks is not always what it goes by (Jain and Wallace 2019)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from slt_cache.batches.targets import make_targets
from slt_cache.models.translators import SignTranslator
from slt_cache.text.scripts import is_wide
from slt_cache.text.tokenizer import Tokenizer

BATCH_SIZE = 32
BROKEN = "\N{REPLACEMENT CHARACTER}"
"""What half of a character, in a tokenizer of bytes, is decoded to."""


@dataclass(frozen=True)
class WordAttention:
    """Where the decoder looked while it wrote each word of a sentence."""

    words: tuple[str, ...]
    """As they stand in the sentence, Chinese by pieces. Without `</s>`, start tokens and language code."""
    weights: np.ndarray
    """float32 [words, N]; each row sums to 1. Steps that the LLM has no position for, and so did not read, have 0."""


def word_attention(
    translator: SignTranslator, tokenizer: Tokenizer, features: np.ndarray | torch.Tensor, sentence: str
) -> WordAttention:
    """Of one clip, [N, C], and one sentence: its hypothesis or any other."""
    return word_attentions(translator, tokenizer, [features], [sentence])[0]


@torch.no_grad()
def word_attentions(
    translator: SignTranslator,
    tokenizer: Tokenizer,
    features: Sequence[np.ndarray | torch.Tensor],
    sentences: Sequence[str],
    batch_size: int = BATCH_SIZE,
) -> list[WordAttention]:
    """Of many clips, [N, C] each, in one teacher-forced forward a batch; clips of similar length share one.

    The weights are those at the position that predicts a piece, so those that the piece was chosen by; a word's are the
    mean over its pieces. Mean over all heads and all decoder layers: which layer aligns best differs from LLM to LLM
    and cannot be known without alignments. The sentence is cut into pieces anew, which search may have cut otherwise.
    A sentence longer than the LLM has positions is read up to there."""
    translator.eval()
    ids = [tokenizer.encode(sentence)[: _room(translator)] for sentence in sentences]
    found: dict[int, WordAttention] = {}
    order = sorted(range(len(sentences)), key=lambda clip: len(features[clip]))
    with _eager(translator):
        for first in range(0, len(order), batch_size):
            batch = order[first : first + batch_size]
            attended = _attended(
                translator, tokenizer, [features[clip] for clip in batch], [ids[clip] for clip in batch]
            )
            for clip, pieces in zip(batch, attended, strict=True):
                found[clip] = _of_words(tokenizer, ids[clip], pieces)
    return [found[clip] for clip in range(len(sentences))]


def _room(translator: SignTranslator) -> int | None:
    """Pieces of a sentence that there are positions for."""
    return None if translator.positions is None else translator.positions - len(translator.start)


@contextmanager
def _eager(translator: SignTranslator) -> Iterator[None]:
    """Attention that computes its weights: the fused kernels give none."""
    seq2seq = translator.seq2seq
    before = seq2seq.config._attn_implementation
    seq2seq.set_attn_implementation("eager")
    try:
        yield
    finally:
        seq2seq.set_attn_implementation(before)


def _attended(
    translator: SignTranslator, tokenizer: Tokenizer, clips: Sequence[np.ndarray | torch.Tensor], ids: list[list[int]]
) -> list[np.ndarray]:
    """float32 [pieces, N] for each clip."""
    device = next(translator.parameters()).device
    tensors = [torch.as_tensor(np.array(clip, np.float32) if isinstance(clip, np.ndarray) else clip) for clip in clips]
    packed = torch.cat([clip[: translator.positions] for clip in tensors]).to(device, torch.float32)
    lengths = torch.tensor([len(clip[: translator.positions]) for clip in tensors], device=device)
    embeds, mask = translator.embed(packed, lengths)
    # Encoder and decoder by themselves: the weights of the encoder's own attentions, [B, heads, N, N] a layer, are not
    # kept, nor logits computed, [B, L, V].
    states = translator.seq2seq.get_encoder()(inputs_embeds=embeds, attention_mask=mask).last_hidden_state
    layers = translator.seq2seq.get_decoder()(
        input_ids=make_targets(ids, tokenizer).decoder_input_ids.to(device),
        encoder_hidden_states=states,
        encoder_attention_mask=mask,
        use_cache=False,
        output_attentions=True,
    ).cross_attentions  # of each layer [B, heads, L, N]
    weights = torch.stack([layer.float().mean(1) for layer in layers]).mean(0).cpu()  # [B, L, N]
    first = len(translator.start) - 1  # the position that reads the last start token predicts the first piece
    rows = []
    for clip, pieces, row in zip(tensors, ids, weights, strict=True):
        whole = np.zeros((len(pieces), len(clip)), np.float32)
        steps = min(len(clip), row.shape[1])
        whole[:, :steps] = row[first : first + len(pieces), :steps]
        rows.append(whole)
    return rows


def _of_words(tokenizer: Tokenizer, ids: Sequence[int], pieces: np.ndarray) -> WordAttention:
    words = cut_into_words(tokenizer, ids)
    weights = np.zeros((len(words), pieces.shape[1]), np.float32)
    for row, (_, span) in enumerate(words):
        weights[row] = pieces[span].mean(0)
    return WordAttention(tuple(word for word, _ in words), weights)


def cut_into_words(tokenizer: Tokenizer, ids: Sequence[int]) -> list[tuple[str, slice]]:
    """Words of a sentence and which of its pieces each is made of. Where no blanks part words, as in Chinese, each
    piece of whole characters counts as one: a piece that holds two characters has one weight for both."""
    words: list[tuple[str, slice]] = []
    for text, span in _whole_characters(tokenizer, ids):
        if words and not (tokenizer.starts_word(ids[span.start]) or is_wide(words[-1][0][-1]) or is_wide(text[0])):
            begun = words[-1][1].start
            words[-1] = (_decoded(tokenizer, ids[begun : span.stop]), slice(begun, span.stop))
        else:
            words.append((text, span))
    return words


def _whole_characters(tokenizer: Tokenizer, ids: Sequence[int]) -> Iterator[tuple[str, slice]]:
    """Pieces, or the few together that make up a character; a blank of its own goes with what follows."""
    begun = 0
    for end in range(1, len(ids) + 1):
        text = _decoded(tokenizer, ids[begun:end])
        if text and (BROKEN not in text or end == len(ids)):
            yield text, slice(begun, end)
            begun = end


def _decoded(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """Unknown pieces show as such; a sentence holds no other special tokens."""
    text: str = tokenizer.inner.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return text.strip()
