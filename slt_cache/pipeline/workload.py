"""How much a training or an extraction has to do: clips, frames and tokens of each split, counted before any of it.

Needs no data set: as long as there is none, its published size counts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

from slt_cache.config import Config
from slt_cache.corpora.base import SPLITS, Clip, of_split
from slt_cache.corpora.manifest import read_manifest
from slt_cache.corpora.published import CSL_DAILY, HOW2SIGN, PHOENIX14T
from slt_cache.pipeline.corpora import read_corpus
from slt_cache.pipeline.open_frame_cache import lengths_of
from slt_cache.runs.run import Run

PUBLISHED = {"phoenix14t": PHOENIX14T, "csl-daily": CSL_DAILY, "how2sign": HOW2SIGN}
FRAMES = {
    "phoenix14t": {"train": 827_354, "dev": 55_775, "test": 64_627},
    "csl-daily": {"train": 2_227_000, "dev": 133_900, "test": 152_300},
    "how2sign": {"train": 5_064_000, "dev": 282_800, "test": 382_900},
}
"""Source frames where the data set is not at hand: PHOENIX14T's as published (Camgoz et al. 2018), those of the other
two rough, from their hours at 30 and 24 frames a second."""
PIECES_A_WORD = 1.5
TOKENS = 20
"""Of a sentence, where no sentences are at hand."""


@dataclass(frozen=True)
class Amount:
    """One split, before the keep rate."""

    clips: int
    frames: float


@dataclass(frozen=True)
class Workload:
    splits: dict[str, Amount]
    tokens: float
    """Of a sentence."""
    sentences: int
    """For pre-training."""
    source: str
    """Where the clips were counted, as the end of a sentence."""


def workload_of(run: Run, manifests: Sequence[Path]) -> Workload:
    """Of the clips that will be trained on: those of a manifest in the folder, else of the corpus, and only where
    neither is at hand those that were published."""
    config = run.config
    manifest = next(filter(Path.is_file, manifests), None)
    if config.corpus.name == "avatar":
        drawn = _drawn(config)
        if manifest is None:
            return drawn
        return replace(_counted(read_manifest(manifest), config, f"as in {manifest}"), sentences=drawn.sentences)
    if manifest is not None:
        return _counted(read_manifest(manifest), config, f"as in {manifest}")
    if config.corpus.name not in PUBLISHED or (config.corpus.root is not None and Path(config.corpus.root).exists()):
        return _counted(read_corpus(run).clips, config, f"as in {config.corpus.root}")
    frames = FRAMES[config.corpus.name]
    splits = {split: Amount(size.clips, frames[split]) for split, size in PUBLISHED[config.corpus.name].items()}
    return Workload(splits, TOKENS, splits["train"].clips, "as published: corpus.root is not set")


def _counted(clips: Sequence[Clip], config: Config, source: str) -> Workload:
    splits = {}
    for split in SPLITS:
        of = of_split(clips, split)
        splits[split] = Amount(len(of), len(of) * mean(lengths_of(of, config.video) or [0]))
    words = mean([len(clip.text.split()) for clip in clips] or [0])
    return Workload(splits, words * PIECES_A_WORD, splits["train"].clips, source)


def _drawn(config: Config) -> Workload:
    from slt_cache.corpora.avatar import plan_avatar
    from slt_cache.corpora.avatar.motion import clip_poses

    plan = plan_avatar(config.corpus)
    length = mean(len(clip_poses(clip)) for clip in plan.clips[::10])
    counts = {split: sum(clip.split == split for clip in plan.clips) for split in SPLITS}
    tokens = mean(len(clip.text.split()) for clip in plan.clips) * PIECES_A_WORD
    splits = {split: Amount(count, count * length) for split, count in counts.items()}
    return Workload(splits, tokens, len(plan.monolingual), "to be drawn")
