"""The work on one small split, of which every clip is a part of its own."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from slt_cache.config import Config, VideoConfig
from slt_cache.corpora.base import Clip
from slt_cache.corpora.fingerprint import sources
from slt_cache.features.parts import ClipFeatures, Parts
from slt_cache.pipeline.split_work import SplitWork
from slt_cache.runs.run import Run
from tests.helpers.caches import DIM, facts_of

SECONDS = (1.0, 2.0, 1.5)
"""Of each clip."""


def split_work(folder: Path, make_video: Callable[..., Path]) -> SplitWork:
    videos = [make_video(folder / f"{number}.mp4", 60) for number in range(len(SECONDS))]
    clips = [Clip(video.stem, "train", video, 0.0, end, "ein satz") for video, end in zip(videos, SECONDS, strict=True)]
    cache, checkpoint = folder / "feats.h5", SimpleNamespace(video=VideoConfig())
    config = Config.model_validate({"compute": {"workers": 0}})
    encoder: Any = checkpoint  # nothing is encoded here
    return SplitWork(Run(folder, config), encoder, Parts(cache, facts_of()), cache, [[clip] for clip in clips])


def make_part(work: SplitWork, number: int) -> None:
    """Writes a part as if its video had been read."""
    [clip] = work.chunks[number]
    [source] = sources([clip])
    row = ClipFeatures(clip.id, clip.text, 25, 25.0, np.ones((7, DIM), np.float16), source)
    work.parts.write(number, [row], [])
