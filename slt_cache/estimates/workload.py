"""Workload of a training or extraction: clips, frames and tokens of each split, counted in advance. Needs no data set:
without one, published sizes are used."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

from slt_cache.config import Config
from slt_cache.corpora.base import SPLITS, Clip, of_split
from slt_cache.corpora.fraction import count_of
from slt_cache.corpora.lengths import LENGTHS_FILE, kept_lengths
from slt_cache.corpora.manifest import read_manifest
from slt_cache.corpora.registry import corpus_of
from slt_cache.pipeline.open_frame_cache import lengths_of
from slt_cache.pipeline.run_corpus import read_corpus
from slt_cache.runs.run import Run

TOKENS_A_WORD = 1.5
TOKENS = 20
"""Tokens per sentence if no sentences are available."""


@dataclass(frozen=True)
class Amount:
    """Size of one split, before the keep rate."""

    clips: int
    frames: float


@dataclass(frozen=True)
class Workload:
    splits: dict[str, Amount]
    tokens: float
    """Mean number of tokens per sentence."""
    sentences: int
    """Number of sentences for pre-training."""
    source: str
    """Source of the counts, as the end of a sentence."""

    def used_by(self, config: Config, stage_2: bool) -> "Workload":
        """Returns the workload of a training, which may use only a share of the train clips."""
        whole = self.splits["train"]
        part = count_of(whole.clips, (config.of_stage_2 if stage_2 else config).corpus.fraction)
        used = whole if part == whole.clips else Amount(part, whole.frames * part / whole.clips)
        return replace(self, splits={**self.splits, "train": used})


def workload_of(run: Run, manifests: Sequence[Path]) -> Workload:
    """Counts the clips to train on: those of the first existing manifest, else those of the corpus. A corpus not yet
    drawn has its planned size, and an official one that is not available its published size."""
    config, corpus = run.config, corpus_of(run.config)
    manifest = next(filter(Path.is_file, manifests), None)
    planned = corpus.planned(config.corpus) if corpus.is_drawn or manifest is None else None
    if manifest is not None:
        counted = _counted(read_manifest(manifest), run, f"as in {manifest}")
        return counted if planned is None else replace(counted, sentences=planned.sentences)
    is_there = config.corpus.root is not None and Path(config.corpus.root).exists()
    if planned is None or (is_there and not corpus.is_drawn):
        with kept_lengths(run.folder / LENGTHS_FILE, writes=False):
            return _counted(read_corpus(run).clips, run, f"as in {config.corpus.root}")
    splits = {split: Amount(clips, planned.frames[split]) for split, clips in planned.clips.items()}
    tokens = TOKENS if planned.words is None else planned.words * TOKENS_A_WORD
    return Workload(splits, tokens, planned.sentences, planned.source)


def _counted(clips: Sequence[Clip], run: Run, source: str) -> Workload:
    splits = {}
    for split in SPLITS:
        of = of_split(clips, split)
        splits[split] = Amount(len(of), len(of) * mean(lengths_of(of, run.config.video, folder=run.folder) or [0]))
    words = mean([len(clip.text.split()) for clip in clips] or [0])
    return Workload(splits, words * TOKENS_A_WORD, splits["train"].clips, source)
