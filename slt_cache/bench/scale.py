"""Simulates a corpus of a million clips: plans, claims, assembles, verifies, opens and reads its feature cache, and
measures what each step takes per clip.

The steps are the commands' own functions; clips, sentences and features are made up, with few channels so that they
fit on a disk. Each step runs in a process of its own, whose memory is measured, at two sizes: their difference gives
what a clip takes, without what the process takes anyway."""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from slt_cache.bench.own_memory import own_memory
from slt_cache.children import in_a_process
from slt_cache.config import AugmentationConfig, Config, FeaturesConfig, VideoConfig
from slt_cache.corpora.base import Clip
from slt_cache.corpora.manifest import read_manifest, write_manifest
from slt_cache.device import peak_memory, pick_device, reset_peak_memory
from slt_cache.distributed.work_queue import WorkQueue
from slt_cache.encoders.base import Frozen, spec_settings
from slt_cache.errors import SltCacheError
from slt_cache.features.cache import FeatureCache
from slt_cache.features.parts import ClipFeatures, add_splits
from slt_cache.features.spec import FeatureSpec
from slt_cache.features.verify import cache_problems
from slt_cache.files import scratch_folder
from slt_cache.pipeline.split_work import SplitWork
from slt_cache.progress import log, progress_counter
from slt_cache.runs.run import Run

SECONDS_A_CLIP, FRAME_RATE = 10.8, 25.0
"""Those of YouTube-SL-25: a million clips have 3,000 hours."""
CLIPS_A_VIDEO = 25
"""Like its 39,000 videos."""
DIM = 8
"""C of the features that are made up."""
WORDS, VOCABULARY = 10, 20_000
"""Words of a sentence, and different words."""
SMALLER = 10
"""The smaller size is one in this many clips."""
TOKENS, READ = 1000, 1000
"""Tokens of the tokenizer, and sentences that it is trained on."""


@dataclass(frozen=True)
class Taken:
    """What a step took."""

    seconds: float
    peak: int
    """Bytes of its process at its peak, Python and torch included."""
    own: int | None = None
    """Those that are not pages of mapped files, such as the cache, which the system takes back when it needs them; None
    where the system does not tell."""


@dataclass(frozen=True)
class MadeUp:
    """Stands for the encoder."""

    video: VideoConfig
    licence: str = ""
    made_at: str = ""

    def spec(self, features: FeaturesConfig, augmentation: AugmentationConfig) -> FeatureSpec:
        one_view = features.model_copy(update={"views": 1})
        return FeatureSpec(
            encoder_sha256=None, dim=DIM, encoder="made up", **spec_settings(self.video, one_view, augmentation)
        )

    def frozen(self, *settings: Any) -> Frozen:
        raise NotImplementedError


def bench_scale(config: Config, clips: int) -> dict[str, Any]:
    """Measures all steps; returns seconds and memory of each, and what a clip adds to both."""
    with scratch_folder() as folder:
        small = _measured(Run(folder / "small", config), clips // SMALLER)
        large = _measured(Run(folder / "large", config), clips)
        size = FeatureCache(Run(folder / "large", config).features, "train").file.size
    values: dict[str, Any] = {}
    more = clips - clips // SMALLER
    for name, taken in large.items():
        values[f"{name}_seconds"] = round(taken.seconds, 3)
        values[f"{name}_megabytes"] = round(taken.peak / 1e6)
        values[f"{name}_microseconds_a_clip"] = round((taken.seconds - small[name].seconds) / more * 1e6, 2)
        values[f"{name}_bytes_a_clip"] = round((taken.peak - small[name].peak) / more)
        if taken.own is not None and (before := small[name].own) is not None:
            values[f"{name}_own_megabytes"] = round(taken.own / 1e6)
            values[f"{name}_own_bytes_a_clip"] = round((taken.own - before) / more)
    return {
        **values,
        "clips": clips,
        "hours": round(clips * SECONDS_A_CLIP / 3600, 1),
        "dim": DIM,
        "cache_gigabytes": round(size / 1e9, 3),
    }


def _measured(run: Run, clips: int) -> dict[str, Taken]:
    run.folder.mkdir(parents=True)
    log(f"{clips:,} clips: {', '.join(STEPS)}")
    return {name: in_a_process(f"bench scale: {name}", partial(_step, name), run, clips) for name in STEPS}


def _step(name: str, run: Run, clips: int) -> Taken:
    work = STEPS[name](run, clips)
    cpu = pick_device("cpu")
    reset_peak_memory(cpu)
    begun = time.monotonic()
    with own_memory() as own:
        work()
    return Taken(time.monotonic() - begun, peak_memory(cpu), own())


def _clips(folder: Path, count: int) -> Iterator[Clip]:
    """Yields clips of different lengths, cut from one video after another."""
    chance, words = random.Random(0), [f"word{number}" for number in range(VOCABULARY)]
    for number in range(count):
        video, place = divmod(number, CLIPS_A_VIDEO)
        start = place * 2 * SECONDS_A_CLIP
        end = start + round(chance.uniform(0.3, 1.7) * SECONDS_A_CLIP, 3)
        name = f"{video:011d}_{round(start * 1000)}-{round(end * 1000)}"
        text = " ".join(chance.choices(words, k=WORDS))
        yield Clip(name, "train", folder / f"{video:011d}.mp4", start, end, text)


def _write(run: Run, clips: int) -> Callable[[], object]:
    """Writes the manifest, and a small file in place of each video."""
    folder = run.folder / "videos"

    def write() -> None:
        folder.mkdir()
        for video in range(-(-clips // CLIPS_A_VIDEO)):
            (folder / f"{video:011d}.mp4").write_bytes(video.to_bytes(8, "big"))
        write_manifest(run.manifest, _clips(folder, clips))

    return write


def _work(run: Run) -> SplitWork:
    return SplitWork.plan(run, MadeUp(run.config.video), run.features, "train", read_manifest(run.manifest))


def _plan(run: Run, clips: int) -> Callable[[], object]:
    """Reads the manifest and finds out which parts are to be made."""
    return lambda: _work(run).to_do(longest_first=False)


def _claim(run: Run, clips: int) -> Callable[[], object]:
    """Claims each part and writes it."""
    work = _work(run)
    numbers = work.to_do(longest_first=False)
    chance = np.random.default_rng(0)

    def features_of(clip: Clip) -> ClipFeatures:
        assert clip.start is not None and clip.end is not None
        frames = round((clip.end - clip.start) * FRAME_RATE)
        steps = max(1, round(frames * run.config.video.keep_rate))
        made = chance.standard_normal((steps, DIM), np.float32).astype(work.metadata.spec.dtype)
        return ClipFeatures(clip.id, clip.text, frames, FRAME_RATE, made, work.source_of[clip.id])

    def claim() -> None:
        with progress_counter("claiming and writing parts", len(numbers), 0, "part") as show:
            for claimed in WorkQueue().claim_next("train", len(numbers)):
                number = numbers[claimed]
                work.parts.write(number, list(map(features_of, work.chunks[number])), [])
                show(claimed + 1)

    return claim


def _assemble(run: Run, clips: int) -> Callable[[], object]:
    work = _work(run)

    def assemble() -> None:
        add_splits(run.features, [work.content()], max_bytes=run.config.features.max_file_bytes)
        work.parts.remove()

    return assemble


def _verify(run: Run, clips: int) -> Callable[[], object]:
    def verify() -> None:
        for problem in cache_problems(run.features):
            raise SltCacheError(problem)

    return verify


def _open(run: Run, clips: int) -> Callable[[], object]:
    return lambda: FeatureCache(run.features, "train")


def _read_columns(run: Run, clips: int) -> Callable[[], object]:
    """Opens the cache and reads ids, sentences and lengths of all clips, as a training does."""

    def read() -> None:
        cache = FeatureCache(run.features, "train")
        assert len(cache.ids) == len(cache.texts) == len(cache.steps) == clips

    return read


def _epoch(run: Run, clips: int) -> Callable[[], object]:
    """Reads all batches of an epoch of stage 2."""
    from slt_cache.batches.features import feature_loader
    from slt_cache.text.tokenizer import load_tokenizer, train_tokenizer

    folder, training = run.folder / "tokenizer", run.config.llm_training
    train_tokenizer((clip.text for clip in _clips(run.folder, READ)), TOKENS, "en_XX", folder)
    tokenizer = load_tokenizer(str(folder), "en_XX")

    def read() -> None:
        cache = FeatureCache(run.features, "train")
        loader = feature_loader(
            cache,
            tokenizer,
            batch_size=training.batch_size,
            shuffle=True,
            by_length=training.length_buckets,
        )
        with progress_counter("an epoch of batches", clips, 0) as show:
            done = 0
            for batch in loader:
                done += len(batch.ids)
                show(done)
        assert done == clips

    return read


STEPS: dict[str, Callable[[Run, int], Callable[[], object]]] = {
    "write": _write,
    "plan": _plan,
    "claim": _claim,
    "assemble": _assemble,
    "verify": _verify,
    "open": _open,
    "read_columns": _read_columns,
    "epoch": _epoch,
}
"""Steps in their order; each prepares what it needs and returns the work to be measured."""
