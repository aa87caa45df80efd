"""Cross-attention of the decoder, or self-attention of a decoder-only LLM: which time steps each word of a sentence
attends to.

Attention alone is not an explanation: a decoder need not rely on what it attends to (Jain and Wallace 2019)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from slt_cache.batches.targets import make_targets
from slt_cache.encoders.packing import ClipArrays, ClipTensors, lengths_of, packed
from slt_cache.models.translators import SignTranslator
from slt_cache.text.scripts import is_wide
from slt_cache.text.tokenizer import Tokenizer

BATCH_SIZE = 32
BROKEN = "\N{REPLACEMENT CHARACTER}"
"""Decoding of part of a character by a byte-level tokenizer."""


@dataclass(frozen=True)
class WordAttention:
    """Cross-attention weights of each word of a sentence."""

    words: tuple[str, ...]
    """Words as in the sentence, tokens in Chinese, without `</s>`, start tokens and language code."""
    weights: np.ndarray
    """Weights, float32 [words, N]; each row sums to 1. Steps beyond the LLM's positions, which it did not read, have
    0."""


def word_attention(
    translator: SignTranslator, tokenizer: Tokenizer, features: ClipArrays | ClipTensors, sentence: str
) -> WordAttention:
    """Computes the word attention of one clip [N, C] for one sentence: its hypothesis or any other."""
    return word_attentions(translator, tokenizer, [features], [sentence])[0]


def word_attentions(
    translator: SignTranslator,
    tokenizer: Tokenizer,
    features: Sequence[ClipArrays | ClipTensors],
    sentences: Sequence[str],
    batch_size: int = BATCH_SIZE,
    languages: Sequence[str] = (),
) -> list[WordAttention]:
    """Computes word attention for many clips, [N, C] each, in one teacher-forced pass per batch of clips of similar
    length. Of several streams, N is that of the first. `languages` are those of the sentences, if the translator writes
    several.

    The weights of a token are those at the position that predicts it, those of a word the mean over its tokens,
    averaged over all heads and decoder layers: the layer that aligns best differs between LLMs and is unknown without
    alignments. Sentences are tokenized again, possibly differently than search segmented them, and truncated to the
    LLM's positions."""
    ids = [tokenizer.encode(sentence)[: sentence_room(translator)] for sentence in sentences]
    attended = token_attentions(translator, tokenizer, features, ids, batch_size, languages)
    return [_of_words(tokenizer, one, weights) for one, weights in zip(ids, attended, strict=True)]


@torch.no_grad()
def token_attentions(
    translator: SignTranslator,
    tokenizer: Tokenizer,
    features: Sequence[ClipArrays | ClipTensors],
    ids: Sequence[list[int]],
    batch_size: int = BATCH_SIZE,
    languages: Sequence[str] = (),
) -> list[np.ndarray]:
    """Computes the attention of each token of many clips, like `word_attentions`: float32 [L, N] each."""
    translator.eval()
    found: dict[int, np.ndarray] = {}
    order = sorted(range(len(ids)), key=lambda clip: lengths_of(features[clip]))
    with _eager(translator):
        for first in range(0, len(order), batch_size):
            batch = order[first : first + batch_size]
            clips, named = [features[clip] for clip in batch], [languages[clip] for clip in batch] if languages else ()
            attended = _attended(translator, tokenizer, clips, [ids[clip] for clip in batch], named)
            found |= zip(batch, attended, strict=True)
    return [found[clip] for clip in range(len(ids))]


def sentence_room(translator: SignTranslator) -> int | None:
    """Returns the number of tokens of a sentence that the LLM has positions for; None if unlimited."""
    positions = translator.target_positions
    return None if positions is None else positions - len(translator.start)


@contextmanager
def _eager(translator: SignTranslator) -> Iterator[None]:
    """Switches to attention that returns its weights, which fused kernels do not."""
    seq2seq = translator.seq2seq
    before = seq2seq.config._attn_implementation
    seq2seq.set_attn_implementation("eager")
    try:
        yield
    finally:
        seq2seq.set_attn_implementation(before)


def _attended(
    translator: SignTranslator,
    tokenizer: Tokenizer,
    clips: Sequence[ClipArrays | ClipTensors],
    ids: list[list[int]],
    languages: Sequence[str],
) -> list[np.ndarray]:
    """Returns the weights of each clip's tokens, float32 [L, N]."""
    device = next(translator.parameters()).device
    features, lengths = packed([as_tensors(clip) for clip in clips])
    read = translator.steps_read(lengths)
    embedded = translator.embed(*translator.truncated(features.to(device), lengths.to(device)))
    targets = make_targets(ids, tokenizer, languages).to(device)
    weights = translator.kind.attention(*embedded, targets.decoder_input_ids, targets.languages).cpu()  # [B, L, N']
    first = len(translator.start) - 1  # the position that reads the last start token predicts the first token
    rows = []
    for whole_length, tokens, row, length in zip(lengths.split(1), ids, weights, read.split(1), strict=True):
        whole = np.zeros((len(tokens), int(whole_length.flatten()[0])), np.float32)
        of_clip = row[first : first + len(tokens), : int(translator.adapter.steps(length))]
        whole[:, : int(length.flatten()[0])] = translator.adapter.over_time(of_clip, length)
        rows.append(whole)
    return rows


def as_tensors(clip: ClipArrays | ClipTensors) -> ClipTensors:
    """Returns the features of a clip, or of each of its streams, as float32 tensors."""
    if isinstance(clip, tuple):
        return tuple(torch.as_tensor(np.array(stream), dtype=torch.float32) for stream in clip)
    return torch.as_tensor(np.array(clip) if isinstance(clip, np.ndarray) else clip, dtype=torch.float32)


def _of_words(tokenizer: Tokenizer, ids: Sequence[int], of_tokens: np.ndarray) -> WordAttention:
    words = segment_words(tokenizer, ids)
    weights = np.zeros((len(words), of_tokens.shape[1]), np.float32)
    for row, (_, span) in enumerate(words):
        weights[row] = of_tokens[span].mean(0)
    return WordAttention(tuple(word for word, _ in words), weights)


def segment_words(tokenizer: Tokenizer, ids: Sequence[int]) -> list[tuple[str, slice]]:
    """Returns the words of a sentence with the span of tokens of each. In scripts without whitespace, such as Chinese,
    each token of whole characters is a word: a token of two characters has one weight for both."""
    words: list[tuple[str, slice]] = []
    for text, span in _whole_characters(tokenizer, ids):
        if words and not (tokenizer.starts_word(ids[span.start]) or is_wide(words[-1][0][-1]) or is_wide(text[0])):
            begun = words[-1][1].start
            words[-1] = (text_of(tokenizer, ids[begun : span.stop]), slice(begun, span.stop))
        else:
            words.append((text, span))
    return words


def _whole_characters(tokenizer: Tokenizer, ids: Sequence[int]) -> Iterator[tuple[str, slice]]:
    """Yields tokens, or runs of tokens that form a character; whitespace is joined to what follows."""
    begun = 0
    for end in range(1, len(ids) + 1):
        text = text_of(tokenizer, ids[begun:end])
        if text and (BROKEN not in text or end == len(ids)):
            yield text, slice(begun, end)
            begun = end


def text_of(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """Returns the text of token ids, showing unknown tokens; a sentence has no other special tokens."""
    text: str = tokenizer.inner.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return text.strip()
