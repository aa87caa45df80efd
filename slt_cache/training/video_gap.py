"""Measures the video gap of a model on dev (metrics/video_gap.py), in three passes over features that are encoded
already.

The features of a blank video are those of as many black frames (`video.blank`), as the encoder computes them, since
zeros may mean something else to it. The swapped features are those of a clip with another sentence, stretched or
shortened to as many steps, so that the length is no hint. Nothing is decoded, and no random number is drawn from the
training's generators.

Stage 2 has no gap: its cache holds no blank video, and passes over dev would take a large part of its short epochs."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch.nn import functional as F

from slt_cache.batches.targets import Targets, make_targets
from slt_cache.corpora.base import Clip
from slt_cache.distributed.processes import gather_object, shard, until_stopped
from slt_cache.encoders.packing import packed
from slt_cache.metrics.video_gap import SentenceLosses, gap_of
from slt_cache.models.translators import IGNORED, SignTranslator
from slt_cache.text.tokenizer import Tokenizer

MOST_CLIPS = 2000
"""Largest number of dev clips that are measured, evenly spaced, since their features are kept in memory."""
BLOCK = 16
"""Clips per forward pass, whatever the number of processes."""


@dataclass(frozen=True)
class DevFeatures:
    """Features of dev, as the model in training has encoded them."""

    clips: Sequence[Clip]
    """All clips to measure, whichever process encodes them."""
    blank: Callable[[Iterable[int]], Mapping[int, torch.Tensor]]
    """Function that returns the features [N, C] of a blank video for each of some N."""
    own: dict[str, torch.Tensor] = field(default_factory=dict)
    """Features [N, C] of the clips that this process has encoded, by id."""

    @cached_property
    def ids(self) -> frozenset[str]:
        return frozenset(clip.id for clip in self.clips)

    def keep(self, clip_id: str, features: torch.Tensor) -> None:
        """Keeps the features of a clip, if it is to be measured."""
        if clip_id in self.ids:
            self.own[clip_id] = features


def measured(clips: Sequence[Clip]) -> Sequence[Clip]:
    """Returns the clips of dev to measure, at most MOST_CLIPS."""
    return clips[:: math.ceil(len(clips) / MOST_CLIPS)]


def video_gap(translator: SignTranslator, dev: DevFeatures, tokenizer: Tokenizer, seed: int) -> dict[str, float]:
    """Returns the gap of a model as `gap_of` does; empty for a single clip, which cannot be swapped. All processes
    return what a single one would."""
    clips = dev.clips
    if len(clips) < 2:
        return {}
    translator.eval()
    features = dict(gather_object(lambda: [*dev.own.items()]))
    partners = [features[clips[place].id] for place in deranged([clip.text for clip in clips], seed)]
    mine = shard([*zip(clips, partners, strict=True)], BLOCK)
    blank = dev.blank({len(features[clip.id]) for clip, _ in mine})

    def losses() -> list[SentenceLosses]:
        found = []
        for first in until_stopped(range(0, len(mine), BLOCK)):
            block, others = zip(*mine[first : first + BLOCK], strict=True)
            own = [features[clip.id] for clip in block]
            swapped = [stretched(other, len(one)) for other, one in zip(others, own, strict=True)]
            videos = (own, [blank[len(one)] for one in own], swapped)
            found += _losses(translator, block, videos, tokenizer)
        return found

    return gap_of(sorted(gather_object(losses), key=lambda loss: loss.clip_id))


def deranged(sentences: Sequence[str], seed: int) -> list[int]:
    """Returns another place for each place, by a seeded permutation: one with another sentence, unless one sentence
    fills more than half of the places."""
    groups: dict[str, list[int]] = {}
    for place in np.random.default_rng(seed).permutation(len(sentences)).tolist():
        groups.setdefault(sentences[place], []).append(place)
    order = [place for group in groups.values() for place in group]
    shift = min(max(map(len, groups.values())), len(order) - 1)
    others = dict(zip(order, [*order[shift:], *order[:shift]], strict=True))
    return [others[place] for place in range(len(order))]


def stretched(features: torch.Tensor, steps: int) -> torch.Tensor:
    """Returns features [M, C] with another number of steps, [N, C]: some are repeated or left out, evenly."""
    return features[(2 * torch.arange(steps) + 1) * len(features) // (2 * steps)]


def _losses(
    translator: SignTranslator, clips: Sequence[Clip], videos: Sequence[Sequence[torch.Tensor]], tokenizer: Tokenizer
) -> list[SentenceLosses]:
    """Returns the losses of clips; `videos` are the features of their own videos, of blank and of swapped ones."""
    device, most = next(translator.parameters()).device, translator.target_positions
    room = None if most is None else most - len(translator.start)
    sentences, languages = zip(*((tokenizer.encode(clip.text)[:room], clip.language) for clip in clips), strict=True)
    targets = make_targets(sentences, tokenizer, languages).to(device)
    tokens = (targets.labels != IGNORED).sum(1).tolist()
    losses = [_sentence_losses(translator, features, targets, device) for features in videos]
    return [SentenceLosses(clip.id, *values) for clip, *values in zip(clips, tokens, *losses, strict=True)]


def _sentence_losses(
    translator: SignTranslator, clips: Sequence[torch.Tensor], targets: Targets, device: torch.device
) -> list[float]:
    features, lengths = packed(clips)
    read = translator.truncated(features.to(device).float(), lengths.to(device))
    logits = translator(*read, targets.decoder_input_ids, targets.languages).float()
    losses = F.cross_entropy(logits.transpose(1, 2), targets.labels, ignore_index=IGNORED, reduction="none")  # [B, L]
    sums: list[float] = losses.double().sum(1).tolist()
    return sums
