"""Clips from the feature cache in batches. Reads no video."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from slt_cache.batches.sampler import WHOLE, EpochOrder, Share
from slt_cache.batches.targets import SentenceTargets, Targets
from slt_cache.errors import InputError
from slt_cache.features.cache import FeatureCache
from slt_cache.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class FeatureBatch:
    """Features of B clips and their target sentences."""

    ids: tuple[str, ...]
    features: torch.Tensor
    """float32 [B, N, C], zeros behind the end of each clip."""
    lengths: torch.Tensor
    """int64 [B], steps of each clip."""
    targets: Targets

    @property
    def size(self) -> int:
        """Steps, without padding."""
        return int(self.lengths.sum())

    def to(self, device: torch.device) -> "FeatureBatch":
        return FeatureBatch(self.ids, self.features.to(device), self.lengths.to(device), self.targets.to(device))


class CachedClips(Dataset[Any]):
    """(id, [N, C] as the cache stores it, read-only, sentence) of the cache's clips; an item is asked for by
    (epoch, index).

    With a seed, each clip is seen as one of its views, drawn anew every epoch; without one as view 0."""

    def __init__(self, cache: FeatureCache, seed: int | None = None):
        self.cache = cache
        self.seed = seed

    def __len__(self) -> int:
        return len(self.cache)

    def __getitem__(self, item: tuple[int, int]) -> tuple[str, np.ndarray, str]:
        epoch, index = item
        cache, view = self.cache, 0
        if self.seed is not None and cache.views > 1:
            view = int(np.random.default_rng((self.seed, epoch, index)).integers(cache.views))
        return cache.ids[index], cache.row(index * cache.views + view), cache.texts[index]


class FeatureCollator:
    """Items of `CachedClips` -> FeatureBatch."""

    def __init__(self, tokenizer: Tokenizer):
        self.targets = SentenceTargets(tokenizer)

    def __call__(self, items: Sequence[tuple[str, np.ndarray, str]]) -> FeatureBatch:
        ids, features, texts = zip(*items, strict=True)
        lengths = [len(steps) for steps in features]
        # Padded here, in the one copy out of the file: behind a step of the LLM the same takes three times as long.
        padded = np.zeros((len(features), max(lengths), features[0].shape[1]), features[0].dtype)
        for row, steps in enumerate(features):
            padded[row, : len(steps)] = steps
        return FeatureBatch(
            ids=tuple(ids),
            features=torch.from_numpy(padded).float(),  # numpy's own conversion takes ten times as long
            lengths=torch.tensor(lengths),
            targets=self.targets(texts),
        )


def steps_of(cache: FeatureCache) -> np.ndarray:
    """int64 [clips], N of each clip as view 0 has it; another view may have a step more or less."""
    return np.diff(cache.offsets)[:: cache.views]


def feature_loader(
    cache: FeatureCache,
    tokenizer: Tokenizer,
    *,
    batch_size: int,
    seed: int = 0,
    shuffle: bool,
    by_length: bool = False,
    share: Share = WHOLE,
) -> DataLoader[Any]:
    """Batches straight from the memory-mapped cache, read in this process: there is nothing to wait for. Shuffled
    batches, those of training, see the augmented views too. `by_length` puts clips of similar N together (order.py);
    the lengths of the sentences, which follow N roughly, do not count."""
    lengths = steps_of(cache) if by_length else None
    return DataLoader(
        CachedClips(cache, seed if shuffle else None),
        batch_sampler=EpochOrder(len(cache), batch_size, seed, shuffle, lengths, share),
        collate_fn=FeatureCollator(tokenizer),
    )


def require_positions(cache: FeatureCache, positions: int | None, tokenizer: Tokenizer) -> None:
    """Raises InputError that names the clips which have more steps, in any view, or a sentence of more pieces than the
    LLM has positions: before a training begins, and not in the middle of it."""
    if positions is None:
        return
    rows = np.flatnonzero(np.diff(cache.offsets) > positions)
    if len(rows):
        clips = list(dict.fromkeys(cache.ids[row // cache.views] for row in rows.tolist()))
        shown = ", ".join(map(repr, clips[:3]))
        raise InputError(
            f"{cache.path} ({cache.split}): {len(clips)} of {len(cache)} clips are longer than the LLM's {positions} "
            f"steps, such as {shown}. Cut them into shorter clips, keep fewer frames (video.keep_rate), or take an LLM "
            "without an end of its positions (T5, NLLB)."
        )
    for clip_id, text in zip(cache.ids, cache.texts, strict=True):
        pieces = len(tokenizer.encode(text)) + len(tokenizer.start)
        if pieces > positions:
            raise InputError(
                f"{cache.path} ({cache.split}): the sentence of clip {clip_id!r} has {pieces} pieces, more than the "
                f"LLM's {positions} positions. Cut the clip into shorter ones, or take it out of the manifest."
            )
