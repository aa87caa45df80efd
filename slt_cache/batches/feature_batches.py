"""Clips from the feature cache in batches. Reads no video."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from slt_cache.batches.order import EpochOrder
from slt_cache.batches.targets import Targets, make_targets
from slt_cache.features.cache import FeatureCache
from slt_cache.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class FeatureBatch:
    """Features of B clips, packed, and their target sentences."""

    ids: tuple[str, ...]
    features: torch.Tensor
    """float32 [sum N, C]"""
    lengths: torch.Tensor
    """int64 [B], steps of each clip."""
    targets: Targets

    def to(self, device: torch.device) -> "FeatureBatch":
        return FeatureBatch(self.ids, self.features.to(device), self.lengths.to(device), self.targets.to(device))


class CachedClips(Dataset[Any]):
    """(id, float32 [N, C], sentence) of the cache's clips; an item is asked for by (epoch, index).

    With a seed, each clip is seen as one of its views, drawn anew every epoch; without one as view 0."""

    def __init__(self, cache: FeatureCache, seed: int | None = None):
        self.cache = cache
        self.seed = seed

    def __len__(self) -> int:
        return len(self.cache)

    def __getitem__(self, item: tuple[int, int]) -> tuple[str, torch.Tensor, str]:
        epoch, index = item
        cache, view = self.cache, 0
        if self.seed is not None and cache.views > 1:
            view = int(np.random.default_rng((self.seed, epoch, index)).integers(cache.views))
        features = cache.row(index * cache.views + view).astype("float32")
        return cache.ids[index], torch.from_numpy(features), cache.texts[index]


class FeatureCollator:
    """Items of `CachedClips` -> FeatureBatch."""

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer = tokenizer

    def __call__(self, items: Sequence[tuple[str, torch.Tensor, str]]) -> FeatureBatch:
        ids, features, texts = zip(*items, strict=True)
        return FeatureBatch(
            ids=tuple(ids),
            features=torch.cat(features),
            lengths=torch.tensor([len(steps) for steps in features]),
            targets=make_targets([self.tokenizer.encode(text) for text in texts], self.tokenizer),
        )


def feature_loader(
    cache: FeatureCache, tokenizer: Tokenizer, *, batch_size: int, seed: int = 0, shuffle: bool
) -> DataLoader[Any]:
    """Batches straight from the memory-mapped cache, read in this process: there is nothing to wait for. Shuffled
    batches, those of training, see the augmented views too."""
    return DataLoader(
        CachedClips(cache, seed if shuffle else None),
        batch_sampler=EpochOrder(len(cache), batch_size, seed, shuffle),
        collate_fn=FeatureCollator(tokenizer),
    )
