"""Training steps of stage 1 for measurements: the loop of `train-visual` itself over batches that come alternately from
videos and from a frame cache, and the bare backbone."""

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

import torch
from torch.utils.data import DataLoader

from slt_cache.batches.clips import ClipBatch
from slt_cache.bench.measure import Measured, wait_for
from slt_cache.config import Config
from slt_cache.encoders.frozen import PRECISIONS
from slt_cache.models.translators import VisualTranslator
from slt_cache.training.tasks.visual import FromPixelsTask

BARE_AT_ONCE = 64
"""Frames per pass if the whole batch need not fit into memory."""


@dataclass(frozen=True)
class Epoch:
    """Seconds of one pass over the measured batches."""

    waits: tuple[float, ...]
    """Waiting time for each batch, including the first, which no step hides."""
    steps: tuple[float, ...]
    """Duration of each update after its batch has arrived."""

    @property
    def seconds(self) -> float:
        return sum(self.waits) + sum(self.steps)

    def waiting_share(self, batches: int) -> float:
        """Returns the share of waiting in an epoch of `batches` batches, of which these are the first."""
        later = mean(self.waits[1:]) if len(self.waits) > 1 else self.waits[0]
        waiting = self.waits[0] + (batches - 1) * later
        return waiting / (waiting + batches * mean(self.steps))


@dataclass(frozen=True)
class Round:
    decoding: Epoch
    """Training on frames decoded from the videos."""
    cached: Epoch
    """Training on frames from the frame cache."""
    bare: float
    """Seconds of the backbone alone."""
    reading: float
    """Seconds of reading the videos' frames alone, augmented and packed, without training."""
    reading_cached: float


class MeasuredPixels(FromPixelsTask):
    """Stage 1's own task over batches that may come from two loaders."""

    rounds: list[Round]
    counts: list[int]
    """Kept frames of each batch."""

    def measure(self, loaders: Sequence[DataLoader[Any]], times: int, config: Config, device: torch.device) -> None:
        """Measures the two loaders, of videos and of the frame cache, `times` times when the loop runs. The first round
        warms up and writes the frame cache."""
        self.loaders, self.times, self.config, self.device = loaders, times, config, device
        self.rounds, self.counts = [], [0]

    def batches(self, epoch: int, first: int = 0) -> Iterator[ClipBatch]:
        for _ in range(self.times):
            decoding = yield from self._trained(self.loaders[0])
            cached = yield from self._trained(self.loaders[1])
            bare = _bare(self.model, self.config, self.device, self.counts)
            self.rounds.append(Round(decoding, cached, bare, *map(self._read, self.loaders)))
        raise Measured

    def _trained(self, loader: DataLoader[Any]) -> Generator[ClipBatch, None, Epoch]:
        self.loader, self.counts = loader, []
        waits, steps = [], []
        source = super().batches(1)
        started = time.perf_counter()
        for batch in source:
            waits.append(time.perf_counter() - started)
            self.counts.append(len(batch.frames))
            started = time.perf_counter()
            yield batch  # resumes when the loop has done its update and asks for the next batch
            wait_for(self.device)
            steps.append(time.perf_counter() - started)
            started = time.perf_counter()
        return Epoch(tuple(waits), tuple(steps))

    def _read(self, loader: DataLoader[Any]) -> float:
        self.loader = loader
        started = time.perf_counter()
        for _ in super().batches(1):
            pass
        return time.perf_counter() - started


def _bare(model: VisualTranslator, config: Config, device: torch.device, counts: Sequence[int]) -> float:
    """Returns the seconds of forward and backward of the backbone alone in plain torch, over `counts` random frames; a
    few frames at a time if the settings save memory."""
    backbone, size, precision = model.encoder.backbone, config.video.size, config.compute.precision
    saves_memory = config.encoder.checkpointing or config.encoder.chunk_frames
    seconds = 0.0
    for count in counts:
        frames = torch.rand(count, 3, size, size).to(device).contiguous(memory_format=torch.channels_last)
        chunks = frames.split((config.encoder.chunk_frames or BARE_AT_ONCE) if saves_memory else count)
        wait_for(device)
        started = time.perf_counter()
        backbone.zero_grad()
        for chunk in chunks:
            with torch.autocast(device.type, PRECISIONS[precision], enabled=precision != "fp32"):
                features = backbone(chunk)
            features.float().sum().backward()
        wait_for(device)
        seconds += time.perf_counter() - started
    return seconds
