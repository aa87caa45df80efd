"""How close extraction comes to its two limits: reading the kept frames alone, and the bare backbone alone.

All three are timed in turns, in one run, on the same cores. The run that is extracted is made for it, with an encoder
that has learned nothing, since what it computes takes no longer for being useful."""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from slt_cache.checkpoints.record import Record
from slt_cache.checkpoints.visual import new_visual_translator, save_visual
from slt_cache.children import belong_to, starting
from slt_cache.config import Config, VideoConfig
from slt_cache.corpora.base import Clip
from slt_cache.corpora.manifest import write_manifest
from slt_cache.corpora.media import FRAME_SUFFIXES, VIDEO_SUFFIXES
from slt_cache.device import pick_device
from slt_cache.encoders.frozen import PRECISIONS
from slt_cache.encoders.registry import find_backbone
from slt_cache.errors import InputError
from slt_cache.features.cache import FeatureCache
from slt_cache.files import scratch_folder
from slt_cache.pipeline.extract import extract
from slt_cache.progress import log
from slt_cache.runs.run import Run
from slt_cache.text.tokenizer import load_tokenizer, train_tokenizer
from slt_cache.video.frames import open_frames

ROUNDS = 3
"""Times that each is taken, in turns, so that a slow moment of the machine hits all; medians count."""
BATCHES = (8, 16, 32, 64, 128)
"""Frames; of these sizes the backbone alone takes its best."""
SOURCE_FRAMES = 116
"""Of each video that is made for the measurement; the mean of PHOENIX14T."""
SOURCE_SIZE = 256
"""Pixels, square."""


def bench_extract(config: Config, videos: Path | None, clips: int) -> dict[str, Any]:
    """Times decode, forward and extraction over videos of a folder, or over H.264 files made for it."""
    device = pick_device(config.compute.device, config.features.precision, "features.precision")
    with scratch_folder() as folder:
        paths = _videos_of(videos, clips) if videos is not None else _write_videos(folder / "videos", clips)
        run = untrained_run(folder / "run", config, paths)
        listed = [_clip(path) for path in paths]
        log(f"timing {len(paths)} videos on {device}: decode, forward, extraction, {ROUNDS} times in turns")
        frames = sum(_count((clip, config.video)) for clip in listed)
        forward, batch = _best_forward(config, frames, device)
        cache = folder / "feats.h5"
        with _decoders(config.compute.workers) as pool:
            decode = lambda: sum(pool.imap_unordered(_count, [(clip, config.video) for clip in listed]))  # noqa: E731
            seconds = _in_turns([decode, forward, lambda: extract(run, ["train"], cache, restart=True)])
        held = FeatureCache(cache, "train")
    decode_seconds, forward_seconds, extract_seconds = seconds
    limit = max(decode_seconds, forward_seconds) if device.type == "cuda" else decode_seconds + forward_seconds
    return {
        "clips": len(held),
        "kept_frames": frames,
        "size": config.video.size,
        "decode_seconds": round(decode_seconds, 2),
        "forward_seconds": round(forward_seconds, 2),
        "forward_batch": batch,
        "extract_seconds": round(extract_seconds, 2),
        "ratio": round(extract_seconds / limit, 3),
        "ratio_to": "max(decode, forward)" if device.type == "cuda" else "decode + forward",
        "kept_frames_per_second": round(frames / extract_seconds, 1),
        "workers": config.compute.workers,
        "device": str(device),
    }


def _in_turns(works: Sequence[Callable[[], Any]]) -> list[float]:
    """Median seconds of each; the first round warms up."""
    taken: list[list[float]] = [[] for _ in works]
    for number in range(ROUNDS + 1):
        for work, seconds in zip(works, taken, strict=True):
            begun = time.monotonic()
            work()
            if number > 0:
                seconds.append(time.monotonic() - begun)
    return [median(seconds) for seconds in taken]


@contextmanager
def _decoders(workers: int) -> Iterator[Any]:
    with starting():
        pool = multiprocessing.get_context("fork").Pool(max(workers, 1), _begin, [os.getpid()])
    with pool:
        yield pool


def _begin(parent: int) -> None:
    belong_to(parent)
    torch.set_num_threads(1)


def _count(asked: tuple[Clip, VideoConfig]) -> int:
    """Reads the kept frames of a clip and drops them."""
    clip, video = asked
    return sum(len(piece) for piece in open_frames(clip, video.keep_every, fps=video.fps).pieces)


def _best_forward(config: Config, frames: int, device: torch.device) -> tuple[Callable[[], None], int]:
    """The bare backbone over so many frames in memory, at the batch size at which it is fastest."""
    backbone = find_backbone(config.encoder.backbone).build().eval()
    precision, size = PRECISIONS[config.features.precision], config.video.size
    backbone = backbone.to(device, precision).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def passes(batch: int, count: int) -> None:
        images = torch.rand(batch, 3, size, size).to(device, precision).contiguous(memory_format=torch.channels_last)
        for first in range(0, count, batch):
            backbone(images[: min(batch, count - first)])
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    def seconds(batch: int) -> float:
        passes(batch, batch)
        begun = time.monotonic()
        passes(batch, 64)
        return time.monotonic() - begun

    taken = {batch: min(seconds(batch) for _ in range(2)) for batch in BATCHES}
    best = min(taken, key=lambda batch: taken[batch])
    return lambda: passes(best, frames), best


def _clip(path: Path) -> Clip:
    return Clip(path.name, "train", path, None, None, f"a sentence for {path.stem}")


def untrained_run(folder: Path, config: Config, videos: Sequence[Path]) -> Run:
    """A run after a stage 1 that has learned nothing."""
    run = Run(folder, config)
    write_manifest(run.manifest, map(_clip, videos))
    train_tokenizer([_clip(video).text for video in videos], 100, "en_XX", run.tokenizer)
    tokenizer = load_tokenizer(str(run.tokenizer), "en_XX")
    encoder = config.encoder.model_copy(update={"weights": "none"})
    model = new_visual_translator(encoder, config.video, config.light_t, tokenizer)
    settings = {
        "encoder": encoder.model_dump(mode="json"),
        "video": config.video.model_dump(mode="json"),
        "light_t": config.light_t.model_dump(mode="json"),
        "tokenizer": {"language": "en_XX"},
    }
    save_visual(run.visual / "best", model, tokenizer, Record("stage 1", settings).finish(0, 0.0))
    llm = config.llm.model_copy(update={"language": "en_XX"})
    return replace(run, config=config.model_copy(update={"llm": llm}))


def _videos_of(folder: Path, clips: int) -> list[Path]:
    """Video files of a folder, and its folders of frames. Raises InputError where there is none."""
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder. Name one that holds videos.")
    found = [
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in VIDEO_SUFFIXES
        or (path.is_dir() and any(frame.suffix.lower() in FRAME_SUFFIXES for frame in path.iterdir()))
    ]
    if not found:
        raise InputError(f"{folder}: no videos here. Name a folder with {', '.join(sorted(VIDEO_SUFFIXES))} files.")
    return found[:clips]


def _write_videos(folder: Path, clips: int) -> list[Path]:
    """H.264 files of shapes that move over a textured ground, as hard to decode as a filmed signer, roughly."""
    import av

    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    ground = random.integers(90, 130, (SOURCE_SIZE, SOURCE_SIZE, 3), np.uint8)
    paths = [folder / f"{number:04d}.mp4" for number in range(clips)]
    for path in paths:
        speeds = random.uniform(-4, 4, (6, 2))
        places = random.uniform(40, SOURCE_SIZE - 40, (6, 2))
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.width = stream.height = SOURCE_SIZE
            stream.pix_fmt = "yuv420p"
            for _ in range(SOURCE_FRAMES):
                places = (places + speeds) % (SOURCE_SIZE - 40)
                picture = ground.copy()
                for number, (top, left) in enumerate(places.astype(int)):
                    picture[top : top + 40, left : left + 30] = 40 * number
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
    return paths
