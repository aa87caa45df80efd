"""Adapters from the features of a clip to embeddings of a language model, for one stream of features or several, each
with a temporal module if the settings ask for one.

Several streams are one tensor, [..., N, sum C]: N is that of the longest, the channels of one stream follow those of
another, and lengths are int64 [B, S] instead of [B]. What lies after the end of a stream is not read."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from slt_cache.config import TemporalConfig
from slt_cache.config.llm_training import CHANNELS, TIME
from slt_cache.device import moved
from slt_cache.encoders.packing import pad, step_mask, unpadded
from slt_cache.encoders.temporal import LocalTemporalModule

Lengths = TypeVar("Lengths", torch.Tensor, np.ndarray)
Embedded = tuple[torch.Tensor, torch.Tensor]
"""Embeddings [B, N', D], with anything after the end of a clip, and the number of steps of each clip, int64 [B]."""


GATE_SPEED = 100.0
"""Factor of the logits of the streams' weights: a step of Adam at adapter_lr 1e-3 then changes a logit by 0.1, and a
stream of noise is turned down before the translator learns it by heart."""


@dataclass(frozen=True)
class Moments:
    """Mean and standard deviation of each channel of embeddings, both [D]."""

    mean: torch.Tensor
    std: torch.Tensor

    def of_each(self, parts: int) -> "Moments":
        """Returns the moments of each of several independent embeddings whose sum has these."""
        return Moments(self.mean / parts, self.std / math.sqrt(parts))


class Adapter(nn.Module):
    """MLP with one hidden layer from visual space C to text space D: both VL-Adapter and LLM-Adapter."""

    def __init__(self, dim_in: int, dim_out: int, words: Moments | None = None, temporal: TemporalConfig | None = None):
        """`words`, if given, adds a LayerNorm whose output starts with these moments; `temporal` a temporal module
        before the MLP."""
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(dim_in, dim_out), nn.ReLU(), nn.Linear(dim_out, dim_out))
        self.norm: nn.Module = nn.Identity()
        if words is not None:
            self.norm = norm = nn.LayerNorm(dim_out)
            with torch.no_grad():
                norm.weight.copy_(words.std)
                norm.bias.copy_(words.mean)
        self.stride = 1 if temporal is None else temporal.stride
        self.temporal: LocalTemporalModule | None = None
        if temporal is not None:
            self.temporal = LocalTemporalModule(dim_in, dim_in, temporal.kernel, temporal.stride)

    @property
    def last_layer(self) -> nn.Module:
        return self.mlp[-1]

    @property
    def normalizes_batches(self) -> bool:
        """Whether it takes batch statistics in training."""
        return self.temporal is not None

    def steps(self, lengths: torch.Tensor) -> torch.Tensor:
        """Returns the number of embeddings for features of these lengths [B]."""
        return lengths if self.stride == 1 else fused_steps(lengths, self.stride, CHANNELS)

    def truncated(self, lengths: torch.Tensor, positions: int) -> torch.Tensor:
        """Returns the lengths [B] up to which features are read if there are embeddings for `positions` steps."""
        return lengths.clamp(max=positions)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Maps features [..., C], after the temporal module, to [..., D]."""
        embeds: torch.Tensor = self.norm(self.mlp(features))
        return embeds

    def embed(self, features: torch.Tensor, lengths: torch.Tensor) -> Embedded:
        """Embeds features [B, N, C] of these lengths [B]."""
        steps = self.steps(lengths)
        if self.temporal is not None:
            features = pad(self.temporal(unpadded(features, step_mask(lengths)), lengths), step_mask(steps))
        return self(features), steps

    def over_time(self, weights: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Spreads weights of the embeddings of one clip, [L, N'], over the N steps of its features (lengths is [1]):
        [L, N], with the same sums."""
        return spread(weights, self.stride, int(lengths), int(lengths))


class StreamAdapter(nn.Module):
    """An adapter and a learned weight for each of several streams, and their fusion over channels or time
    (llm_training.stream_fusion)."""

    added = ("gates",)
    """Parameters that older files lack."""

    def __init__(
        self,
        dims: Sequence[int],
        dim_out: int,
        words: Moments | None = None,
        temporal: TemporalConfig | None = None,
        fusion: str = TIME,
        dropout: float = 0.0,
    ):
        """`dims` are the channels of each stream; `words` are the moments of the fused embeddings at the start. In
        training, a fraction `dropout` of the streams is left out of each clip, but never all."""
        super().__init__()
        self.dims = list(dims)
        self.dropout = dropout
        each = words if words is None or fusion == TIME else words.of_each(len(dims))
        self.streams = nn.ModuleList(Adapter(dim, dim_out, each, temporal) for dim in dims)
        self.stride = 1 if temporal is None else temporal.stride
        self.places = nn.Parameter(torch.zeros(len(dims), dim_out)) if fusion == TIME else None
        """Embedding of each stream; None if they are fused over channels."""
        self.gates = nn.Parameter(torch.zeros(len(dims)))
        """Logits of the streams' weights, divided by GATE_SPEED."""
        self.without: frozenset[int] = frozenset()
        """Streams that are left out, as if a clip had none (`eval --without`)."""

    @property
    def last_layer(self) -> nn.Module:
        return self._adapters[0].last_layer

    @property
    def normalizes_batches(self) -> bool:
        """Whether it takes batch statistics in training."""
        return self._adapters[0].normalizes_batches

    def steps(self, lengths: torch.Tensor) -> torch.Tensor:
        """Returns the number of embeddings for streams of these lengths [B, S], int64 [B]."""
        if self.places is None:
            return fused_steps(lengths, self.stride, CHANNELS)
        return fused_steps(lengths * self._present(lengths), self.stride, TIME)

    def truncated(self, lengths: torch.Tensor, positions: int) -> torch.Tensor:
        """Returns the lengths [B, S] up to which the streams are read if there are embeddings for `positions` steps:
        all streams lose the same share of their ends."""
        if self.places is None:
            first = lengths[:, :1].clamp(max=positions)
            return -(-lengths * first // lengths[:, :1])
        steps, most = -(-lengths // self.stride) * self._present(lengths), positions // self.stride
        total, present = steps.sum(1, keepdim=True), (steps > 0).sum(1, keepdim=True)
        kept = 1 + (steps - 1) * (most - present).clamp(min=0) // (total - present).clamp(min=1)
        return torch.where(total > most, torch.minimum(lengths, kept * self.stride), lengths)

    def embed(self, features: torch.Tensor, lengths: torch.Tensor) -> Embedded:
        """Embeds features [B, N, sum C] of streams of these lengths [B, S]."""
        present = self._drawn(self._present(lengths))
        parts = features.split(self.dims, -1)
        return (self._summed if self.places is None else self._joined)(parts, lengths, present)

    @property
    def weights(self) -> torch.Tensor:
        """Weights of the streams, [S], learned, from 0 to 2, 1 at the start."""
        return 2 * torch.sigmoid(GATE_SPEED * self.gates)

    @property
    def _adapters(self) -> list[Adapter]:
        return [one for one in self.streams if isinstance(one, Adapter)]

    def _summed(self, parts: Sequence[torch.Tensor], lengths: torch.Tensor, present: torch.Tensor) -> Embedded:
        first = lengths[:, 0]
        weights = moved(present, self.gates.device) * self.weights  # [B, S]
        embedded = [
            stream.embed(resampled(part, lengths[:, place], first), first)[0] * weights[:, place, None, None]
            for place, (stream, part) in enumerate(zip(self._adapters, parts, strict=True))
        ]
        return torch.stack(embedded).sum(0), fused_steps(first, self.stride, CHANNELS)

    def _joined(self, parts: Sequence[torch.Tensor], lengths: torch.Tensor, present: torch.Tensor) -> Embedded:
        assert self.places is not None
        embedded, masks, weights = [], [], self.weights
        for place, (stream, part) in enumerate(zip(self._adapters, parts, strict=True)):
            embeds, steps = stream.embed(part[:, : int(lengths[:, place].max())], lengths[:, place])
            embedded.append(embeds * weights[place] + self.places[place])
            masks.append(step_mask(steps) & present[:, place, None])
        mask = torch.cat(masks, 1)  # [B, sum N'], with gaps: an LLM that counts positions must see none
        steps = mask.sum(1)
        return pad(unpadded(torch.cat(embedded, 1), mask), step_mask(steps)), steps

    def _present(self, lengths: torch.Tensor) -> torch.Tensor:
        """Returns which streams are not left out, bool [B, S]."""
        present = torch.ones_like(lengths, dtype=torch.bool)
        present[:, sorted(self.without)] = False
        return present

    def _drawn(self, present: torch.Tensor) -> torch.Tensor:
        """Leaves out further streams in training, at random."""
        if not self.training or self.dropout == 0:
            return present
        drawn = torch.rand(present.shape, device=present.device)
        return present & ((drawn >= self.dropout) | (drawn == drawn.amax(1, keepdim=True)))

    def over_time(self, weights: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Spreads weights of the embeddings of one clip, [L, N'], over the N steps of its first stream (lengths is [1,
        S]): [L, N], with the same sums; those of streams fused over time are added up."""
        columns = int(lengths[0, 0])
        if self.places is None:
            return spread(weights, self.stride, columns, columns)
        present = [place for place in range(len(self.dims)) if place not in self.without]
        steps = [int(-(-lengths[0, place] // self.stride)) for place in present]
        parts = zip(weights.split(steps, 1), present, strict=True)
        return sum(
            (spread(part, self.stride, int(lengths[0, place]), columns) for part, place in parts),
            torch.zeros(len(weights), columns),
        )


def make_adapter(
    dims: int | Sequence[int],
    dim_out: int,
    words: Moments | None,
    temporal: TemporalConfig | None,
    fusion: str,
    dropout: float,
) -> Adapter | StreamAdapter:
    """Makes the adapter for features of C channels, or for streams of `dims` channels each."""
    dims = [dims] if isinstance(dims, int) else dims
    if len(dims) == 1:
        return Adapter(dims[0], dim_out, words, temporal)
    return StreamAdapter(dims, dim_out, words, temporal, fusion, dropout)


def fused_steps(lengths: Lengths, stride: int, fusion: str) -> Lengths:
    """Returns the number of embeddings of each clip, [B], for features of these lengths, [B], or of streams, [B, S]."""
    steps = -(-lengths // stride)
    if steps.ndim == 1:
        return steps
    return steps[:, 0] if fusion == CHANNELS else steps.sum(1)


def resampled(features: torch.Tensor, lengths: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Resamples clips [B, M, C] of these lengths [B] to the wanted lengths [B] by linear interpolation over time: [B,
    max N, C]. A clip that has its length already stays as it is."""
    steps = torch.arange(int(wanted.max()), device=features.device)
    lengths, wanted = moved(lengths, features.device), moved(wanted, features.device)
    last = (lengths - 1).unsqueeze(1)
    at = ((steps + 0.5) * (lengths / wanted).unsqueeze(1) - 0.5).clamp(min=0)  # the middle of each step
    low = torch.minimum(at.long(), last)
    high = torch.minimum(low + 1, last)
    below, above = (features.gather(1, one.unsqueeze(2).expand(-1, -1, features.shape[2])) for one in (low, high))
    return below + (at - low).unsqueeze(2) * (above - below)


def spread(weights: torch.Tensor, stride: int, length: int, columns: int) -> torch.Tensor:
    """Spreads weights of the steps of `stride` features each of a clip, [L, ceil(length / stride)], evenly over the
    time that they cover, in `columns` equal parts of the clip: [L, columns], with the same sums."""
    if stride == 1 and length == columns:
        return weights
    edges = (torch.arange(weights.shape[1] + 1, dtype=torch.float64) * stride).clamp(max=length) / length
    marks = torch.arange(columns + 1, dtype=torch.float64) / columns
    begins, ends = edges[:-1, None], edges[1:, None]
    shared = (torch.minimum(ends, marks[1:]) - torch.maximum(begins, marks[:-1])).clamp(min=0) / (ends - begins)
    return (weights.double() @ shared).to(weights.dtype)
