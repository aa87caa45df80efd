"""Times extraction against its two limits: reading the kept frames alone, and the bare backbone alone.

Rounds of all three alternate in one process, on the same cores. The encoder is untrained, as training does not
change its speed."""

import math
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from slt_cache.bench.measure import median_seconds, wait_for
from slt_cache.checkpoints.record import Record
from slt_cache.checkpoints.visual import new_visual_translator, save_visual
from slt_cache.children import belong_to, starting
from slt_cache.config import Config, VideoConfig
from slt_cache.corpora.base import Clip
from slt_cache.corpora.manifest import write_manifest
from slt_cache.device import pick_device
from slt_cache.encoders.base import NetworkEncoder
from slt_cache.encoders.frozen import PRECISIONS
from slt_cache.encoders.registry import find_backbone, open_encoder
from slt_cache.errors import InputError
from slt_cache.features.cache import FeatureCache
from slt_cache.files import scratch_folder
from slt_cache.pipeline.extract import extract
from slt_cache.progress import log
from slt_cache.runs.run import Run
from slt_cache.text.tokenizer import load_tokenizer, train_tokenizer
from slt_cache.video.decoders import require_decoder
from slt_cache.video.frames import open_frames
from slt_cache.video.paths import find_videos

ROUNDS = 3
"""Interleaved repetitions; the median is reported."""
BATCHES = (8, 16, 32, 64, 128)
"""Batch sizes in frames, also of windows together, that are tried for the backbone alone; the fastest counts."""
SOURCE_FRAMES = 116
"""Length of a generated video: the mean of PHOENIX14T."""
SOURCE_SIZE = 256
"""Width and height of a generated video in pixels."""


def bench_extract(config: Config, videos: Path | None, clips: int, rounds: int = ROUNDS) -> dict[str, Any]:
    """Times decoding, forward passes and extraction over the videos of a folder, or over generated H.264 files."""
    if videos is not None and not videos.is_dir():
        raise InputError(f"--videos {videos}: no such folder. Name one that contains videos.")
    require_decoder(config.video.decoder)
    device = pick_device(config.compute.device, config.features.precision, "features.precision")
    with scratch_folder() as folder:
        paths = find_videos([videos])[:clips] if videos is not None else _write_videos(folder / "videos", clips)
        run = untrained_run(folder / "run", config, paths)
        listed = [_clip(path) for path in paths]
        log(f"timing {len(paths)} videos on {device}: decode, forward, extraction, {rounds} rounds")
        bare = _bare(run.config)
        counts = [_count((clip, bare.video)) for clip in listed]
        forward, batch = _best_forward(
            bare, sum(map(bare.steps, counts)), PRECISIONS[config.features.precision], device
        )
        cache = folder / "feats.h5"
        with _decoders(config.compute.readers) as pool:
            decode = lambda: sum(pool.imap_unordered(_count, [(clip, bare.video) for clip in listed]))  # noqa: E731
            seconds = median_seconds([decode, forward, lambda: extract(run, ["train"], cache, restart=True)], rounds)
        features = FeatureCache(cache, "train")
    frames = sum(counts)
    decode_seconds, forward_seconds, extract_seconds = seconds
    limit = max(decode_seconds, forward_seconds) if device.type == "cuda" else decode_seconds + forward_seconds
    return {
        "encoder": config.encoder.name or config.encoder.backbone,
        "clips": len(features),
        "kept_frames": frames,
        "size": bare.video.size,
        "decode_seconds": round(decode_seconds, 2),
        "forward_seconds": round(forward_seconds, 2),
        "forward_batch": batch,
        "extract_seconds": round(extract_seconds, 2),
        "ratio": round(extract_seconds / limit, 3),
        "ratio_to": "max(decode, forward)" if device.type == "cuda" else "decode + forward",
        "kept_frames_per_second": round(frames / extract_seconds, 1),
        "workers": config.compute.readers,
        "device": str(device),
    }


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
    """Reads the kept frames of a clip and returns their number."""
    clip, video = asked
    return sum(len(piece) for piece in open_frames(clip, video.keep_every, 0, video.fps, video.decoder).chunks)


@dataclass(frozen=True)
class _Bare:
    """Network of an encoder, alone."""

    network: nn.Module
    """Network in evaluation mode, channels-last if it reads images."""
    video: VideoConfig
    window: int = 1
    stride: int = 1

    def steps(self, frames: int) -> int:
        """Returns the number of frames or windows that it reads of a clip."""
        return frames if self.window == 1 else 1 + max(0, math.ceil((frames - self.window) / self.stride))

    def images(self, batch: int) -> torch.Tensor:
        size, windows = self.video.size, () if self.window == 1 else (self.window,)
        images = torch.rand(batch, *windows, 3, size, size)
        return images if windows else images.contiguous(memory_format=torch.channels_last)


def _bare(config: Config) -> _Bare:
    """Returns the network of the encoder of these settings. Raises InputError if it has none."""
    if config.encoder.name is None:
        network = find_backbone(config.encoder.backbone).build().eval()
        return _Bare(network.to(memory_format=torch.channels_last), config.video)
    encoder = open_encoder(config.encoder, config.video)
    if not isinstance(encoder, NetworkEncoder):
        raise InputError(f"--encoder {config.encoder.name}: has no network that could be timed alone. Use another one.")
    network = encoder.backbone.to(memory_format=torch.channels_last) if encoder.fusable else encoder.backbone
    return _Bare(network, encoder.video, encoder.window, encoder.stride)


def _best_forward(
    bare: _Bare, steps: int, precision: torch.dtype, device: torch.device
) -> tuple[Callable[[], None], int]:
    """Returns a pass of the bare network over this many frames or windows in memory, and the fastest batch size, which
    it uses."""
    network = bare.network.to(device, precision)

    @torch.inference_mode()
    def passes(batch: int, count: int) -> None:
        images = bare.images(batch).to(device, precision)
        for first in range(0, count, batch):
            network(images[: min(batch, count - first)])
        wait_for(device)

    def seconds(batch: int) -> float:
        passes(batch, batch)
        started = time.monotonic()
        passes(batch, tried)
        return time.monotonic() - started

    tried, batches = max(1, 64 // bare.window), sorted({max(1, batch // bare.window) for batch in BATCHES})
    durations = {batch: min(seconds(batch) for _ in range(2)) for batch in batches}
    best = min(durations, key=lambda batch: durations[batch])
    return lambda: passes(best, steps), best


def _clip(path: Path) -> Clip:
    return Clip(path.name, "train", path, None, None, f"a sentence for {path.stem}")


def untrained_run(folder: Path, config: Config, videos: Sequence[Path]) -> Run:
    """Creates a run with an untrained visual encoder in place of a finished stage 1, unless its encoder is a named one,
    whose weights are random if they need not be read from a folder."""
    encoder = config.encoder.model_copy(update={"weights": "none", "named_weights": None})
    llm = config.llm.model_copy(update={"language": "en_XX"})
    run = Run(folder, config.model_copy(update={"encoder": encoder, "llm": llm}))
    write_manifest(run.manifest, map(_clip, videos))
    train_tokenizer([_clip(video).text for video in videos], 100, "en_XX", run.tokenizer)
    if encoder.name is not None:
        return run
    tokenizer = load_tokenizer(str(run.tokenizer), "en_XX")
    model = new_visual_translator(encoder, config.video, config.light_t, tokenizer)
    settings = {
        "encoder": encoder.model_dump(mode="json"),
        "video": config.video.model_dump(mode="json"),
        "light_t": config.light_t.model_dump(mode="json"),
        "tokenizer": {"language": "en_XX"},
    }
    save_visual(run.visual / "best", model, tokenizer, Record("stage 1", settings).finish(0, 0.0))
    return run


def _write_videos(folder: Path, clips: int) -> list[Path]:
    """Writes H.264 files of shapes moving over a texture, roughly as hard to decode as a filmed signer."""
    import av

    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    background = random.integers(90, 130, (SOURCE_SIZE, SOURCE_SIZE, 3), np.uint8)
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
                image = background.copy()
                for number, (top, left) in enumerate(places.astype(int)):
                    image[top : top + 40, left : left + 30] = 40 * number
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode())
    return paths
