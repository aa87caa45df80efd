"""Contrast of each clip with all clips of a batch, whichever process has them."""

import math
import zlib
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from slt_cache.device import moved
from slt_cache.distributed.gradients import summed
from slt_cache.distributed.processes import gather_object, rank, size
from slt_cache.training.objectives.base import Objective, Seen, Setup

TEMPERATURE = 0.07
"""Temperature of the softmax over similarities at the start (Radford et al. 2021, 2.5; Zhou et al. 2023)."""
LARGEST_SCALE = 100.0
"""Largest factor of similarities, 1 / temperature (Radford et al. 2021, 2.5)."""


class Batch:
    """Clips of a batch over all processes, of which this one has its own. Clips that do not count are in no process's
    part."""

    def __init__(self, seen: Seen):
        device = seen.states.device
        counted = seen.counted.nonzero().squeeze(1)
        self.counted = moved(counted, device)
        """Places of this process's clips that count, int64 [b]."""
        ids, mask = seen.sentences.ids[counted], seen.sentences.mask[counted]
        own = [zlib.crc32(row[kept].cpu().numpy().tobytes()) for row, kept in zip(ids, mask, strict=True)]
        parts = gather_object(lambda: [(own, seen.states.shape[1], seen.sentences.ids.shape[1])])
        everyone = torch.tensor([one for hashes, _, _ in parts for one in hashes])
        first = sum(len(hashes) for hashes, _, _ in parts[: rank()])
        self.size = len(everyone)
        places = torch.arange(first, first + len(own))
        self.own = moved(places, device)
        """Places of this process's clips among all, int64 [b]."""
        self.steps = max(steps for _, steps, _ in parts)
        """Time steps of the longest clip."""
        self.tokens = max(tokens for _, _, tokens in parts)
        """Tokens of the longest sentence."""
        same = everyone[places, None] == everyone
        same[torch.arange(len(own)), places] = False
        self.same = moved(same, device)
        """Bool [b, all]: other clips whose sentence is the same, which are no negatives."""

    def mine(self, rows: torch.Tensor) -> torch.Tensor:
        """Returns the rows [b, ...] of this process's clips that count, of [B, ...]."""
        return rows[self.counted]

    def all(self, rows: torch.Tensor) -> torch.Tensor:
        """Returns the rows of all clips, [all, ...], for those of this process's, [b, ...]. Gradients flow back to the
        process that has a clip."""
        if size() == 1:
            return rows
        return summed(rows.new_zeros(self.size, *rows.shape[1:]).index_copy(0, self.own, rows))

    def contrast(self, similarities: torch.Tensor) -> torch.Tensor:
        """Returns InfoNCE, summed over this process's clips, for their scaled similarities to all, [b, all]."""
        return F.cross_entropy(similarities.masked_fill(self.same, -math.inf), self.own, reduction="sum")


def exact(device: torch.device) -> AbstractContextManager[Any]:
    """Returns a context without mixed precision, in which similarities would be rounded."""
    has_autocast = torch.amp.is_autocast_available(device.type)
    return torch.autocast(device.type, enabled=False) if has_autocast else nullcontext()


class Scale(nn.Module):
    """Learned factor of similarities, 1 / temperature."""

    def __init__(self) -> None:
        super().__init__()
        self.log = nn.Parameter(torch.tensor(math.log(1 / TEMPERATURE)))

    def forward(self, similarities: torch.Tensor) -> torch.Tensor:
        scaled: torch.Tensor = similarities * self.log.clamp(max=math.log(LARGEST_SCALE)).exp()
        return scaled


class ClipContrast(Objective):
    """Term that contrasts videos and sentences: a linear projection of either side, and the scale of similarities."""

    def __init__(self, setup: Setup):
        super().__init__()
        self.video = nn.Linear(setup.width, setup.width, bias=False)
        self.text = nn.Linear(setup.width, setup.width, bias=False)
        self.scale = Scale()

    def symmetric(self, batch: Batch, to_text: torch.Tensor, to_video: torch.Tensor) -> torch.Tensor:
        """Returns the mean of both directions for the similarities, [b, all] each, of this process's videos to all
        sentences, and of its sentences to all videos."""
        return (batch.contrast(self.scale(to_text)) + batch.contrast(self.scale(to_video))) / 2
