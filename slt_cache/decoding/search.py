"""Beam search, or greedy search with one beam: batches of features in, hypotheses out (method.md, inference)."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import torch
from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from slt_cache.batches.features import feature_loader
from slt_cache.batches.targets import languages_of
from slt_cache.config import GenerationConfig
from slt_cache.distributed.processes import gather_object, rank, size, until_stopped
from slt_cache.features.streams import ClipSplit
from slt_cache.models.translators import SignTranslator
from slt_cache.text.tokenizer import Tokenizer

NAMED = 10
"""Largest number of clips that a notice names."""


@dataclass(frozen=True)
class Hypothesis:
    """Translations of one clip, best first."""

    clip_id: str
    texts: tuple[str, ...]
    scores: tuple[float, ...]
    """Log-probability of each text, including `</s>`, divided by its number of tokens to the power of length_penalty:
    per token if 1. Higher is better."""
    steps_left_out: int = 0
    """Steps at the end of the clip that were not read for lack of positions in the LLM."""


class EncodedBatch(Protocol):
    """Features of B clips, from the cache or the encoder; with `languages` if their sentences are in several."""

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
    """Decodes batches into hypotheses, in their order, with the `nbest` best beams of each clip. After each batch,
    `show` receives the approximate number of clips decoded by all processes."""
    device = next(translator.parameters()).device
    translator.eval()
    search = _greedy if generation.num_beams == 1 else _beams
    hypotheses: list[Hypothesis] = []
    for batch in until_stopped(batches):
        features, lengths = batch.features.to(device).float(), batch.lengths.to(device)
        rows = languages_of(tokenizer, getattr(batch, "languages", ()))
        languages = None if rows is None else rows.to(device)
        best = min(nbest, generation.num_beams)
        sequences, scores = search(translator, features, lengths, languages, generation, best)
        texts = [tokenizer.decode(ids) for ids in sequences[:, len(translator.start) :].tolist()]
        found = len(texts) // len(batch.ids)
        left_out = translator.steps_left_out(lengths).tolist()
        for row, (clip_id, steps) in enumerate(zip(batch.ids, left_out, strict=True)):
            span = slice(row * found, (row + 1) * found)
            hypotheses.append(Hypothesis(clip_id, tuple(texts[span]), tuple(scores[span]), steps))
        if show is not None:
            show(len(hypotheses) * size())
    return hypotheses


def decode_cached(
    translator: SignTranslator,
    cache: ClipSplit,
    tokenizer: Tokenizer,
    generation: GenerationConfig,
    show: Callable[[int], None] | None = None,
) -> list[Hypothesis]:
    """Decodes a whole split, in the order of the cache, in batches of clips of similar length. With several processes
    each decodes some of the batches, and all get all hypotheses."""
    batches = feature_loader(cache, tokenizer, batch_size=generation.batch_size, shuffle=False, by_length=True)
    mine = islice(batches, rank(), None, size())
    return gather_hypotheses(cache.ids, lambda: decode(translator, mine, tokenizer, generation, show=show))


def gather_hypotheses(ids: Sequence[str], make: Callable[[], list[Hypothesis]]) -> list[Hypothesis]:
    """Gathers the hypotheses that each process makes of its shard of the clips, in the order of `ids`."""
    found = gather_object(make)
    assert len(found) == len(ids), f"{len(found)} hypotheses of {len(ids)} clips"
    by_id = {hypothesis.clip_id: hypothesis for hypothesis in found}
    return [by_id[clip_id] for clip_id in ids]


def truncation_notice(hypotheses: Sequence[Hypothesis], positions: int | None) -> str | None:
    """Returns a notice of clips whose ends were not read; None if there are none."""
    truncated = [one.clip_id for one in hypotheses if one.steps_left_out]
    if not truncated:
        return None
    count = len(truncated)
    more = f" and {count - NAMED} more" if count > NAMED else ""
    clips, their = ("1 clip is", "its end was") if count == 1 else (f"{count} clips are", "their ends were")
    return f"{clips} longer than the LLM's {positions} steps; {their} not read: {', '.join(truncated[:NAMED])}{more}"


Found = tuple[torch.Tensor, list[float]]
"""Token ids, int64 [B * nbest, L], with the decoder prefix, and a score for each row."""


def _beams(
    translator: SignTranslator,
    features: torch.Tensor,
    lengths: torch.Tensor,
    languages: torch.Tensor | None,
    generation: GenerationConfig,
    nbest: int,
) -> Found:
    result = translator.generate(
        features,
        lengths,
        languages,
        num_beams=generation.num_beams,
        num_return_sequences=nbest,
        max_new_tokens=generation.max_new_tokens,
        length_penalty=generation.length_penalty,
        do_sample=False,
        output_scores=True,  # without them sentences have no scores
        stopping_criteria=StoppingCriteriaList([_ForgetSteps()]),
    )
    return result.sequences, result.sequences_scores.tolist()


def _greedy(
    translator: SignTranslator,
    features: torch.Tensor,
    lengths: torch.Tensor,
    languages: torch.Tensor | None,
    generation: GenerationConfig,
    nbest: int,
) -> Found:
    seen = _Likelihood(len(translator.start))
    result = translator.generate(
        features,
        lengths,
        languages,
        num_beams=1,
        max_new_tokens=generation.max_new_tokens,
        do_sample=False,
        logits_processor=LogitsProcessorList([seen]),
    )
    return result.sequences, seen.scores(translator, result.sequences, generation.length_penalty)


class _ForgetSteps(StoppingCriteria):
    """Criterion that never stops, but frees the log-probabilities [B * beams, V] that beam search keeps of every step:
    20 GB for 128 tokens and a vocabulary of 250,000."""

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        if scores:
            scores[-1].untyped_storage().resize_(0)
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


class _Likelihood(LogitsProcessor):
    """Processor that changes nothing, but keeps the log-probability of the likeliest token, which greedy search
    takes."""

    def __init__(self, start: int):
        self.start = start
        self.steps: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.steps.append(scores.float().log_softmax(-1).amax(-1))  # [B]
        return scores

    def scores(self, translator: SignTranslator, sequences: torch.Tensor, length_penalty: float) -> list[float]:
        """Returns the scores as beam search computes them: the sum of log-probabilities up to `</s>`, divided by the
        number of tokens to the power of length_penalty."""
        written, ends = sequences[:, self.start :], translator.seq2seq.generation_config.eos_token_id
        ended = torch.isin(written, torch.as_tensor(ends, device=written.device)).long()
        counts = ended.cumsum(-1) - ended == 0  # [B, L], True up to and including the first </s>
        sums = (torch.stack(self.steps, -1) * counts).sum(-1)
        scores: list[float] = (sums / counts.sum(-1) ** length_penalty).tolist()
        return scores
