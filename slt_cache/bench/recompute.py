"""Stage 2 as it would be without a cache: batches are computed from the videos by the frozen encoder, every epoch."""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import torch

from slt_cache.batches.features import FeatureBatch
from slt_cache.batches.targets import make_targets
from slt_cache.bench.measure import wait_for
from slt_cache.checkpoints.translator import LlmCheckpoint
from slt_cache.corpora.base import Clip
from slt_cache.decoding.encode import EncodedClip, encode, joined, packed, usable
from slt_cache.encoders.base import Frozen
from slt_cache.encoders.packing import longest, pad, step_mask
from slt_cache.features.spec import IMPORTED, by_name
from slt_cache.pipeline.encoder import encoders_of, frozen_encoder, reader_of
from slt_cache.pipeline.prepare import ensure_clips, require_split
from slt_cache.pipeline.run_corpus import require_corpus
from slt_cache.progress import log
from slt_cache.runs.run import Run
from slt_cache.text.tokenizer import Tokenizer
from slt_cache.video.chunks import ChunkReader, plain
from slt_cache.video.reader_pool import read_ahead


@dataclass(frozen=True)
class Videos:
    """The clips of some batches and the frozen encoder of each stream. Each pass starts its own readers, as an epoch
    would."""

    encoders: Sequence[tuple[Frozen, ChunkReader]]
    """Encoder and reader of each stream."""
    workers: int
    tokenizer: Tokenizer
    chunks: Sequence[Sequence[Clip]]
    """The clips of each batch."""

    def encoded(self) -> Iterator[EncodedClip]:
        clips = [clip for chunk in self.chunks for clip in chunk]
        streams = [encode(one, read_ahead(plain(clips), reader, self.workers)) for one, reader in self.encoders]
        return usable(joined(streams))

    def updates(self, settle: Callable[[], None]) -> Generator[FeatureBatch, None, float]:
        """Yields the batches; returns the seconds of their updates.

        Readers are forks: the system copies pages that are first written after the fork, such as weights and optimizer
        state. For MBart-large that takes a CPU 20 seconds, once an epoch; `settle` is a step outside of the measured
        time that causes it."""
        encoded = self.encoded()
        started = time.perf_counter()
        first = next(encoded)  # its readers run now
        taken = time.perf_counter() - started
        settle()
        started = time.perf_counter() - taken
        encoded = chain([first], encoded)
        for chunk in self.chunks:
            [batch] = packed(islice(encoded, len(chunk)), len(chunk))
            targets = make_targets([self.tokenizer.encode(clip.text) for clip in chunk], self.tokenizer)
            features = pad(batch.features.float(), step_mask(longest(batch.lengths)))
            yield FeatureBatch(batch.ids, features, batch.lengths, targets)
        for encoder, _ in self.encoders:
            wait_for(encoder.device)
        return time.perf_counter() - started

    def alone(self) -> float:
        """Returns the seconds of encoding the same clips without an LLM."""
        started = time.perf_counter()
        for _ in islice(self.encoded(), sum(map(len, self.chunks))):
            pass
        return time.perf_counter() - started


def videos_of(run: Run, trained: LlmCheckpoint, chosen: Sequence[Sequence[str]], device: torch.device) -> Videos | None:
    """Returns the clips of each batch with the run's encoders; None if a stream has none."""
    specs = by_name(trained.specs)
    if any(spec.level == IMPORTED for spec in specs.values()):
        log("imported features: the run has no encoder to run again; only the cache is timed.")
        return None
    encoders, most = encoders_of(run, trained.specs), run.config.features.batch_frames
    clips = require_split(run, ensure_clips(run), "train")
    require_corpus(run, clips)
    by_id = {clip.id: clip for clip in clips}
    return Videos(
        encoders=[
            (frozen_encoder(one, specs[name], device, most), reader_of(one, run.config.video.decoder))
            for name, one in encoders.items()
        ],
        workers=run.config.compute.readers,
        tokenizer=trained.tokenizer,
        chunks=[[by_id[clip_id] for clip_id in ids] for ids in chosen],
    )
