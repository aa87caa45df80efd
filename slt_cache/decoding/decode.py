"""Beam search: batches of features in, hypotheses out (method.md, inference)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import torch

from slt_cache.config import GenerationConfig
from slt_cache.models.sign_translator import SignTranslator
from slt_cache.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Hypothesis:
    """The translations of one clip, best first."""

    clip_id: str
    texts: tuple[str, ...]
    scores: tuple[float, ...]
    """Log-probability per token of each text, length-penalized; higher is better. 0 for greedy search."""


class EncodedBatch(Protocol):
    """Features of B clips, wherever they came from: the cache or the encoder."""

    @property
    def ids(self) -> tuple[str, ...]: ...
    @property
    def features(self) -> torch.Tensor: ...
    @property
    def lengths(self) -> torch.Tensor: ...


def decode(
    translator: SignTranslator,
    batches: Iterable[EncodedBatch],
    tokenizer: Tokenizer,
    generation: GenerationConfig,
    nbest: int = 1,
) -> list[Hypothesis]:
    """Hypotheses in the order of the batches; `nbest` of the beams of each clip."""
    device = next(translator.parameters()).device
    translator.eval()
    hypotheses: list[Hypothesis] = []
    for batch in batches:
        result = translator.generate(
            batch.features.to(device).float(),
            batch.lengths.to(device),
            num_beams=generation.num_beams,
            num_return_sequences=min(nbest, generation.num_beams),
            max_new_tokens=generation.max_new_tokens,
            length_penalty=generation.length_penalty,
            do_sample=False,
            output_scores=generation.num_beams > 1,
        )
        texts = [tokenizer.decode(ids) for ids in result.sequences[:, len(translator.start) :].tolist()]
        found = len(texts) // len(batch.ids)
        scores = [0.0] * len(texts) if generation.num_beams == 1 else result.sequences_scores.tolist()
        for row, clip_id in enumerate(batch.ids):
            span = slice(row * found, (row + 1) * found)
            hypotheses.append(Hypothesis(clip_id, tuple(texts[span]), tuple(scores[span])))
    return hypotheses
