"""Times a stage-2 epoch from the cache against one that runs the frozen encoder again; rounds of both alternate."""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import torch

from slt_cache.batches.features import FeatureBatch, feature_loader
from slt_cache.batches.targets import make_targets
from slt_cache.bench.reading import bench_checks, bench_hashes, bench_reading
from slt_cache.checkpoints.translator import LlmCheckpoint, load_llm
from slt_cache.corpora.base import Clip
from slt_cache.decoding.encode import EncodedClip, encode, packed, usable
from slt_cache.device import pick_device
from slt_cache.encoders.packing import pad, step_mask
from slt_cache.features.cache import FeatureCache
from slt_cache.models.translators import SignTranslator, token_loss
from slt_cache.pipeline.encoder import encoder_of, frozen_encoder
from slt_cache.pipeline.feature_spec import open_features
from slt_cache.pipeline.prepare import ensure_clips, require_split
from slt_cache.pipeline.run_corpus import require_corpus
from slt_cache.runs.run import Run
from slt_cache.training.optimizers import AdamW
from slt_cache.video.chunks import PieceReader, plain
from slt_cache.video.reader_pool import read_ahead

ROUNDS = 3
"""Interleaved repetitions, so that a slow moment of the machine affects both; the median is reported."""
BATCHES_A_ROUND = 6


def bench_cache(run: Run, cache: Path) -> dict[str, Any]:
    """Times stage-2 updates from the cache against updates that read the videos and run the frozen encoder again.

    The trained weights are discarded. Seconds are for one epoch, from the median round."""
    device = pick_device(run.config.compute.device)
    llm = load_llm(run.llm / "best")
    features = open_features(run, cache, "train", llm.spec)
    visual = encoder_of(run, llm.spec)
    model = llm.model.to(device)
    encoder = frozen_encoder(visual, llm.spec, device, run.config.features.batch_frames)
    update = _updater(model, device, run.config.llm_training.label_smoothing)
    batch_size = run.config.llm_training.batch_size
    clips = _same_clips(run, features, batch_size * BATCHES_A_ROUND)
    batches = [clips[first : first + batch_size] for first in range(0, len(clips), batch_size)]
    # One set of reader processes for all rounds: starting them is not part of an epoch.
    events = read_ahead(plain(clips * (ROUNDS + 1)), PieceReader(visual.video), run.config.compute.workers)
    encoded = usable(encode(encoder, events))
    seconds = _in_turns(
        partial(_from_cache, features, llm, batch_size, len(batches), update),
        partial(_from_video, encoded, llm, batches, update),
    )
    epoch = len(features) / len(clips)
    from_cache, from_video = (median(rounds) * epoch for rounds in seconds)
    checks = bench_checks(features)
    return {
        "epoch_seconds_from_cache": round(from_cache, 2),
        "epoch_seconds_recomputed": round(from_video, 2),
        "ratio": round(from_video / from_cache, 2),
        "clips_timed": len(clips),
        "rounds": ROUNDS,
        "device": str(device),
        **bench_reading(features, llm.tokenizer, batch_size),
        "open_seconds": round(checks["open_seconds"], 4),
        "file_hashes_percent_of_epoch": round(100 * bench_hashes(run.llm / "best") / from_cache, 3),
        "row_checksums_percent_of_epoch": round(100 * checks["compare_seconds"] / from_cache, 3),
    }


def _in_turns(first: Callable[[], None], second: Callable[[], None]) -> tuple[list[float], list[float]]:
    """Returns the seconds of every call of both functions, called alternately."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for number in range(ROUNDS + 1):
        for work, taken in zip((first, second), seconds, strict=True):
            begun = time.monotonic()
            work()
            if number > 0:  # the first round warms up
                taken.append(time.monotonic() - begun)
    return seconds


def _updater(model: SignTranslator, device: torch.device, smoothing: float) -> Callable[[FeatureBatch], None]:
    """Returns a function that does one training step of stage 2."""
    optimizer = AdamW(model.parameters(), lr=1e-9)

    def update(batch: FeatureBatch) -> None:
        model.train()
        batch = batch.to(device)
        logits = model(batch.features, batch.lengths, batch.targets.decoder_input_ids)
        optimizer.zero_grad()
        (token_loss(logits, batch.targets.labels, smoothing) / batch.targets.tokens).backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return update


def _same_clips(run: Run, features: FeatureCache, count: int) -> list[Clip]:
    """Looks up the first clips of the cache in the manifest, which must be the one that the cache was made from."""
    by_id = {clip.id: clip for clip in require_split(run, ensure_clips(run), "train")}
    clips = [by_id[clip_id] for clip_id in features.ids[:count]]
    require_corpus(run, clips)
    return clips


def _from_cache(
    features: FeatureCache, llm: LlmCheckpoint, batch_size: int, batches: int, update: Callable[[FeatureBatch], None]
) -> None:
    loader = feature_loader(features, llm.tokenizer, batch_size=batch_size, shuffle=False)
    for number, batch in enumerate(loader):
        if number == batches:
            break
        update(batch)


def _from_video(
    encoded: Iterator[EncodedClip],
    llm: LlmCheckpoint,
    batches: Sequence[Sequence[Clip]],
    update: Callable[[FeatureBatch], None],
) -> None:
    for clips in batches:
        [batch] = packed(islice(encoded, len(clips)), len(clips))
        sentences = [llm.tokenizer.encode(clip.text) for clip in clips]
        features = pad(batch.features.float(), step_mask(batch.lengths))
        update(FeatureBatch(batch.ids, features, batch.lengths, make_targets(sentences, llm.tokenizer)))
