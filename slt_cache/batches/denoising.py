"""Batches of sentences and their noised copies, for denoising pre-training (Liu et al. 2020, 2.2). Text only."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch

from slt_cache.batches.mixture import mixture_of
from slt_cache.batches.sampler import WHOLE, EpochOrder, Shard
from slt_cache.batches.targets import Targets, make_targets
from slt_cache.device import moved
from slt_cache.errors import InputError
from slt_cache.text.scripts import is_wide
from slt_cache.text.tokenizer import Tokenizer
from slt_cache.text.vocabulary import SPACE

SENTENCE_END = re.compile(r"""(?:(?<!\d)\.|[!?。！？])["'”’»“」』)\]]*$""")
"""Pattern of a word that ends a sentence, but not 10. or 3., which are ordinals in German."""
CLOSING = re.compile(r"[”’»」』)\]）》]+")
"""Pattern of a separate word that closes the sentence before it."""


@dataclass(frozen=True)
class NoisyBatch:
    """Batch of B noised lines and the lines to restore."""

    ids: tuple[str, ...]
    input_ids: torch.Tensor
    """Token ids in the format of MBart's source, `tokens </s> <language code>`, int64 [B, N]."""
    mask: torch.Tensor
    """Attention mask, int64 [B, N]: 1 on tokens, 0 on padding."""
    targets: Targets

    @property
    def size(self) -> int:
        """Number of tokens to restore."""
        return self.targets.tokens

    def to(self, device: torch.device) -> "NoisyBatch":
        return NoisyBatch(self.ids, moved(self.input_ids, device), moved(self.mask, device), self.targets.to(device))


def infill(
    words: Sequence[Sequence[int]],
    mask: int,
    mask_ratio: float,
    span_mean: float,
    random: np.random.Generator,
) -> list[int]:
    """Returns token ids with text infilling: spans of words with Poisson-distributed lengths each become one mask
    token, until the fraction `mask_ratio` of the words is masked. A span of length 0 inserts a mask, as in the
    paper."""
    kept: list[Sequence[int] | None] = list(words)
    wanted = round(mask_ratio * len(words))
    gone = 0
    while gone < wanted:
        length = min(int(random.poisson(span_mean)), wanted - gone)
        first = int(random.integers(0, len(kept) - length + 1))
        span = kept[first : first + length]
        gone += sum(word is not None for word in span)
        kept[first : first + length] = [None]
        if length == 0:
            gone += 1  # an insertion counts too, so that short sentences do not fill up with masks
    return [token for word in kept for token in ([mask] if word is None else word)]


def words_of(ids: Sequence[int], tokenizer: Tokenizer) -> list[list[int]]:
    """Splits token ids into words at the tokens that begin one; in scripts without whitespace every token is a word."""
    starts = [tokenizer.starts_word(token) for token in ids]
    if sum(starts) <= 1:
        return [[token] for token in ids]
    words: list[list[int]] = []
    before = ""
    for token, start in zip(ids, starts, strict=True):
        text = str(tokenizer.inner.convert_ids_to_tokens(token))
        # Whitespace that is a separate token is joined to what follows.
        if start or not words or is_wide(before[-1:]) or (is_wide(text[:1]) and before != SPACE):
            words.append([])
        words[-1].append(token)
        before = text
    return words


def sentences_of(words: Sequence[list[int]], tokenizer: Tokenizer) -> list[list[list[int]]]:
    """Splits the words of a line into sentences, after each word that ends one."""
    sentences: list[list[list[int]]] = []
    before, ended = "", True
    for word in words:
        text = "".join(tokenizer.inner.convert_ids_to_tokens(word)).replace("▁", " ")
        joins = ended and bool(sentences) and CLOSING.fullmatch(text.strip()) is not None
        if ended and not joins:
            sentences.append([])
        sentences[-1].append(word)
        ended = joins or SENTENCE_END.search(before + text) is not None
        before = text  # without whitespace a word is a token, and 3.5 is three
    return sentences


def permuted(sentences: Sequence[Sequence[list[int]]], random: np.random.Generator) -> list[list[int]]:
    """Returns the words of the sentences in random order; a single sentence draws no random number."""
    order = random.permutation(len(sentences)) if len(sentences) > 1 else range(len(sentences))
    return [word for place in order for word in sentences[place]]


class NoisyText:
    """Noised text in batches; the noise follows from (seed, epoch, line). A line is an instance: one sentence, or
    several, shuffled in the source before masking."""

    def __init__(
        self,
        lines: Sequence[str],
        tokenizer: Tokenizer,
        *,
        batch_size: int,
        seed: int,
        mask_ratio: float,
        span_mean: float,
        permute_sentences: bool = False,
        shard: Shard = WHOLE,
        languages: Sequence[str] = (),
        temperature: float | None = None,
    ):
        """Takes the lines, with several languages that of each."""
        self.languages = languages or [""] * len(lines)
        self.words = [words_of(tokenizer.encode(line), tokenizer) for line in lines]
        self.tokenizer = tokenizer
        self.order = EpochOrder(
            len(lines),
            batch_size,
            seed,
            shuffle=True,
            shard=shard,
            mixture=mixture_of(self.languages, temperature, seed),
        )
        self.seed = seed
        self.mask_ratio = mask_ratio
        self.span_mean = span_mean
        self.sentences = [sentences_of(words, tokenizer) if permute_sentences else [words] for words in self.words]

    def __len__(self) -> int:
        return len(self.order)

    def require_positions(self, positions: int) -> None:
        """Raises InputError for the first line that may exceed the model's positions when noised, before training
        begins rather than in the middle of it."""
        for number, words in enumerate(self.words, 1):
            tokens = sum(map(len, words))
            longest = tokens + round(self.mask_ratio * len(words)) + 2  # inserted masks; </s> and the language code
            if longest > positions:
                start = self.tokenizer.decode(list(chain.from_iterable(words))[:12])
                raise InputError(
                    f"pre-training text, sentence {number} ({start!r} ...): {tokens} tokens, too many for the "
                    f"{positions} positions of the LLM. Split it into several lines."
                )

    def epoch(self, epoch: int, first: int = 0) -> Iterator[NoisyBatch]:
        self.order.epoch, self.order.first = epoch, first
        idle = self.order.idle()
        for number, items in enumerate(self.order, first):
            indices = [index for _, index in items]
            noisy = [self._noised(epoch, index) for index in indices]
            input_ids = torch.nn.utils.rnn.pad_sequence(noisy, batch_first=True, padding_value=self.tokenizer.pad)
            lengths = torch.tensor([len(ids) for ids in noisy])
            lines = [index % len(self.words) for index in indices]
            targets = make_targets(
                [list(chain.from_iterable(self.words[line])) for line in lines],
                self.tokenizer,
                [self.languages[line] for line in lines],
            )
            yield NoisyBatch(
                ids=tuple(f"sentence {line + 1}" for line in lines),
                input_ids=input_ids,
                mask=(torch.arange(input_ids.shape[1]) < lengths.unsqueeze(1)).long(),
                targets=targets.uncounted() if number in idle else targets,
            )

    def _noised(self, epoch: int, index: int) -> torch.Tensor:
        random = np.random.default_rng((self.seed, epoch, index))
        line = index % len(self.words)
        words = permuted(self.sentences[line], random)
        ids = infill(words, self.tokenizer.mask, self.mask_ratio, self.span_mean, random)
        return torch.tensor([*ids, self.tokenizer.eos, self.tokenizer.language_code(self.languages[line])])
