"""Times an update of stage 1: the whole step over real videos against the bare backbone on tensors in memory, how long
the model waits for frames, and whether a cache of decoded frames would pay.

Rounds of all alternate in one process. Steps go through the loop of `train-visual` itself, so whatever is added to it
is measured, too; the weights are discarded."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch

from slt_cache.batches.clips import clip_loader
from slt_cache.batches.sampler import EpochOrder
from slt_cache.bench.measure import run_loop
from slt_cache.bench.visual_step import MeasuredPixels, Round
from slt_cache.checkpoints.visual import new_visual_translator
from slt_cache.config import Config
from slt_cache.corpora.base import Clip
from slt_cache.device import pick_device
from slt_cache.encoders.memory_estimate import frame_bytes
from slt_cache.errors import SltCacheError
from slt_cache.files import scratch_folder
from slt_cache.models.translators import VisualTranslator
from slt_cache.pipeline.llm_tokenizer import ensure_tokenizer
from slt_cache.pipeline.open_frame_cache import GIGABYTE, cache_bytes, frame_cache_in, make_folder
from slt_cache.pipeline.prepare import ensure_clips, require_split
from slt_cache.pipeline.run_corpus import require_corpus
from slt_cache.pipeline.visual_training import memory_needed, with_passes
from slt_cache.progress import log
from slt_cache.runs.derived import Derived
from slt_cache.runs.run import Run
from slt_cache.text.tokenizer import Tokenizer
from slt_cache.training.tasks.visual import visual_optimizer
from slt_cache.write_errors import free_space

ROUNDS = 3
"""Interleaved repetitions; the median is reported."""
BATCHES = 20
"""Default number of measured batches."""
GAIN = 1.1
"""Speedup from which the frame cache pays; less is within the noise of a measurement."""
MEGABYTE = 1e6


def bench_visual(run: Run, batches: int | None = None) -> dict[str, Any]:
    """Measures `batches` of clips spread over the train split with untrained weights, which are as fast as trained
    ones. Frames are kept frames; the median round is reported."""
    config = run.config
    device = pick_device(config.compute.device, config.compute.precision)
    all_clips = ensure_clips(run)
    clips = require_split(run, all_clips, "train")
    require_corpus(run, clips)
    with Derived(run, run.command("train-visual"), restart=False) as derived:
        tokenizer = ensure_tokenizer(run, all_clips, derived)
    size = config.visual_training.batch_size
    chosen = _evenly(clips, size * (batches or BATCHES))
    model = _model(config, tokenizer)
    with scratch_folder(_cache_disk(run)) as folder:
        loader = partial(
            clip_loader,
            chosen,
            config.video,
            tokenizer,
            batch_size=size,
            workers=config.compute.readers,
            seed=config.seed,
            augmentation=config.augmentation,
            pinned=device.type == "cuda",
        )
        cache = frame_cache_in(folder, config)
        loaders = [loader(), loader(frame_cache=cache)]
        timed, an_epoch = len(loaders[0]), len(EpochOrder(len(clips), size, config.seed, shuffle=True))
        log(f"timing {timed} of {an_epoch} batches on {device}, {ROUNDS} rounds")
        optimizer = partial(visual_optimizer, model, config.visual_training)
        task = MeasuredPixels("bench", model, loaders[0], optimizer, dict, lambda epoch, dev: None)
        task.measure(loaders, ROUNDS + 1, config, device)
        run_loop(task, config.visual_training, config, device)
        if missing := cache.missing(chosen):
            raise SltCacheError(
                f"{folder.parent}: the frames of {len(missing):,} of {len(chosen):,} clips could not be cached, so "
                f"reading from a frame cache was not timed; {free_space(folder)} are free. Free some space, or set a "
                "folder on another disk (video.frame_cache=FOLDER)."
            )
    return {
        **_speeds(task.rounds[1:], sum(task.counts), an_epoch),
        "frame_cache_gb": round(cache_bytes(clips, config) / GIGABYTE, 2),
        **_memory(model, config, max(task.counts), device),
        "kept_frames": sum(task.counts),
        "size": config.video.size,
        "batch_size": size,
        "batches_timed": timed,
        "batches_an_epoch": an_epoch,
        "rounds": ROUNDS,
        "workers": config.compute.readers,
        "compiled": config.compute.compile,
        "checkpointing": config.encoder.checkpointing,
        "chunk_frames": config.encoder.chunk_frames,
        "device": str(device),
    }


def _evenly(clips: Sequence[Clip], count: int) -> list[Clip]:
    """Returns up to `count` clips spread over the whole split: manifests may be sorted by length or signer."""
    return [clips[place * len(clips) // min(count, len(clips))] for place in range(min(count, len(clips)))]


def _model(config: Config, tokenizer: Tokenizer) -> VisualTranslator:
    encoder = config.encoder.model_copy(update={"weights": "none"})
    return with_passes(new_visual_translator(encoder, config.video, config.light_t, tokenizer), config)


def _cache_disk(run: Run) -> Path:
    """Returns the folder whose disk would hold the run's frame cache, since disks differ."""
    asked = run.config.video.frame_cache
    folder = Path(asked) if isinstance(asked, str) else run.folder
    make_folder(folder)
    return folder


def _speeds(rounds: Sequence[Round], frames: int, an_epoch: int) -> dict[str, Any]:
    whole = median(one.decoding.seconds for one in rounds)
    bare = median(one.bare for one in rounds)
    model = frames / median(sum(one.decoding.steps) for one in rounds)
    reading = frames / median(one.reading for one in rounds)
    cached = frames / median(one.reading_cached for one in rounds)
    return {
        "frames_per_second": round(frames / whole, 1),
        "frames_per_second_bare": round(frames / bare, 1),
        "ratio_to_bare": round(median(one.decoding.seconds / one.bare for one in rounds), 3),
        "frames_per_second_without_waiting": round(model, 1),
        "waiting_share": round(median(one.decoding.waiting_share(an_epoch) for one in rounds), 4),
        "first_batch_seconds": round(median(one.decoding.waits[0] for one in rounds), 3),
        "reading_frames_per_second": round(reading, 1),
        "reading_frames_per_second_cached": round(cached, 1),
        "frames_per_second_cached": round(frames / median(one.cached.seconds for one in rounds), 1),
        "waiting_share_cached": round(median(one.cached.waiting_share(an_epoch) for one in rounds), 4),
        "frame_cache": verdict(reading, model, median(one.decoding.seconds / one.cached.seconds for one in rounds)),
    }


def verdict(reading: float, training: float, gain: float) -> str:
    """Says whether the frame cache pays, given frames per second of reading the videos and of training that never
    waits, and the speedup of training by the cache."""
    if gain < GAIN:
        faster = "videos are read faster than they are trained on" if reading > training else "its disk is too slow"
        return f"does not pay: {faster}"
    held_up = "waits for it" if reading < training else "shares the processor with it"
    return f"pays: {gain:.2f} times the frames per second; without the cache training decodes, and {held_up}"


def _memory(model: VisualTranslator, config: Config, frames: int, device: torch.device) -> dict[str, float]:
    count = partial(frame_bytes, config.encoder.backbone, config.video.size, config.compute.precision != "fp32")
    ways = {"": False, "_checkpointing": True}
    values = {f"activation_mb_a_frame{name}": round(count(way).peak / MEGABYTE, 2) for name, way in ways.items()}
    adam = config.visual_training.optimizer == "adamw"
    parameters = sum(weight.numel() for weight in model.parameters())
    values["memory_gb_estimate"] = round(memory_needed(parameters, config, frames, adam) / GIGABYTE, 2)
    if device.type == "cuda":
        values["memory_gb_peak"] = round(torch.cuda.max_memory_allocated(device) / GIGABYTE, 2)
    return values
