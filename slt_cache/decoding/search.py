"""Beam search, or greedy search with one beam: batches of features in, hypotheses out (method.md, inference)."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import torch
from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from slt_cache.batches.features import feature_loader
from slt_cache.config import GenerationConfig
from slt_cache.distributed.processes import gather_object, rank, size, until_stopped
from slt_cache.features.cache import FeatureCache
from slt_cache.models.translators import SignTranslator
from slt_cache.text.tokenizer import Tokenizer

NAMED = 10
"""Clips that a notice names."""


@dataclass(frozen=True)
class Hypothesis:
    """The translations of one clip, best first."""

    clip_id: str
    texts: tuple[str, ...]
    scores: tuple[float, ...]
    """Log-probability of each text, `</s>` included, by its tokens to the power of length_penalty: with 1, per token.
    Higher is better."""
    cut: int = 0
    """Steps at the end of the clip that were not read, because the LLM has no positions for them."""


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
    show: Callable[[int], None] | None = None,
) -> list[Hypothesis]:
    """Hypotheses in the order of the batches; `nbest` of the beams of each clip. `show` is told after each batch how
    many clips are done, about, by all processes together."""
    device = next(translator.parameters()).device
    translator.eval()
    search = _greedy if generation.num_beams == 1 else _beams
    hypotheses: list[Hypothesis] = []
    for batch in until_stopped(batches):
        features, lengths = batch.features.to(device).float(), batch.lengths.to(device)
        sequences, scores = search(translator, features, lengths, generation, min(nbest, generation.num_beams))
        texts = [tokenizer.decode(ids) for ids in sequences[:, len(translator.start) :].tolist()]
        found = len(texts) // len(batch.ids)
        for row, (clip_id, cut) in enumerate(zip(batch.ids, translator.steps_left_out(lengths).tolist(), strict=True)):
            span = slice(row * found, (row + 1) * found)
            hypotheses.append(Hypothesis(clip_id, tuple(texts[span]), tuple(scores[span]), cut))
        if show is not None:
            show(len(hypotheses) * size())
    return hypotheses


def decode_cached(
    translator: SignTranslator,
    cache: FeatureCache,
    tokenizer: Tokenizer,
    generation: GenerationConfig,
    show: Callable[[int], None] | None = None,
) -> list[Hypothesis]:
    """A whole split, in the order of the cache; decoded in batches of clips of similar length. Of
    several processes each decodes some of the batches, and all get all hypotheses."""
    batches = feature_loader(cache, tokenizer, batch_size=generation.batch_size, shuffle=False, by_length=True)
    mine = islice(batches, rank(), None, size())
    return gather_hypotheses(cache.ids, lambda: decode(translator, mine, tokenizer, generation, show=show))


def gather_hypotheses(ids: Sequence[str], make: Callable[[], list[Hypothesis]]) -> list[Hypothesis]:
    """The hypotheses that each process makes of its share of the clips, in the order of `ids`."""
    found = gather_object(make)
    assert len(found) == len(ids), f"{len(found)} hypotheses of {len(ids)} clips"
    by_id = {hypothesis.clip_id: hypothesis for hypothesis in found}
    return [by_id[clip_id] for clip_id in ids]


def cut_notice(hypotheses: Sequence[Hypothesis], positions: int | None) -> str | None:
    """What to tell of clips whose ends were not read; None where there are none."""
    cut = [hypothesis.clip_id for hypothesis in hypotheses if hypothesis.cut]
    if not cut:
        return None
    more = f" and {len(cut) - NAMED} more" if len(cut) > NAMED else ""
    clips, their = ("1 clip is", "its end was") if len(cut) == 1 else (f"{len(cut)} clips are", "their ends were")
    return f"{clips} longer than the LLM's {positions} steps; {their} not read: {', '.join(cut[:NAMED])}{more}"


Found = tuple[torch.Tensor, list[float]]
"""int64 [B * nbest, L], start tokens first, and a score for each row."""


def _beams(
    translator: SignTranslator, features: torch.Tensor, lengths: torch.Tensor, generation: GenerationConfig, nbest: int
) -> Found:
    result = translator.generate(
        features,
        lengths,
        num_beams=generation.num_beams,
        num_return_sequences=nbest,
        max_new_tokens=generation.max_new_tokens,
        length_penalty=generation.length_penalty,
        do_sample=False,
        output_scores=True,  # else there are no scores of sentences either
        stopping_criteria=StoppingCriteriaList([_ForgetSteps()]),
    )
    return result.sequences, result.sequences_scores.tolist()


def _greedy(
    translator: SignTranslator, features: torch.Tensor, lengths: torch.Tensor, generation: GenerationConfig, nbest: int
) -> Found:
    seen = _Likelihood(len(translator.start))
    result = translator.generate(
        features,
        lengths,
        num_beams=1,
        max_new_tokens=generation.max_new_tokens,
        do_sample=False,
        logits_processor=LogitsProcessorList([seen]),
    )
    return result.sequences, seen.scores(translator, result.sequences, generation.length_penalty)


class _ForgetSteps(StoppingCriteria):
    """Stops nothing. Beam search keeps every step's log-probabilities [B * beams, V], which nobody asked for: 20 GB for
    128 tokens and a vocabulary of 250,000 pieces."""

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        if scores:
            scores[-1].untyped_storage().resize_(0)
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


class _Likelihood(LogitsProcessor):
    """Changes nothing. Keeps the log-probability of each token that greedy search takes: the likeliest one's."""

    def __init__(self, start: int):
        self.start = start
        self.steps: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.steps.append(scores.float().log_softmax(-1).amax(-1))  # [B]
        return scores

    def scores(self, translator: SignTranslator, sequences: torch.Tensor, length_penalty: float) -> list[float]:
        """As beam search scores a sentence: the sum up to `</s>`, by the number of tokens."""
        written = sequences[:, self.start :]
        ended = (written == translator.seq2seq.config.eos_token_id).long()
        counts = ended.cumsum(-1) - ended == 0  # [B, L], True up to the first </s> and on it
        sums = (torch.stack(self.steps, -1) * counts).sum(-1)
        scores: list[float] = (sums / counts.sum(-1) ** length_penalty).tolist()
        return scores
