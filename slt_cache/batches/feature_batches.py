"""Clips from the feature cache in batches. Reads no video."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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
    """(id, float32 [N, C], sentence) of the cache's clips; an item is asked for by (epoch, index)."""

    def __init__(self, cache: FeatureCache):
        self.cache = cache

    def __len__(self) -> int:
        return len(self.cache)

    def __getitem__(self, item: tuple[int, int]) -> tuple[str, torch.Tensor, str]:
        _, index = item
        clip_id = self.cache.ids[index]
        return clip_id, torch.from_numpy(self.cache[clip_id].astype("float32")), self.cache.texts[index]


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
    """Batches straight from the memory-mapped cache, read in this process: there is nothing to wait for."""
    return DataLoader(
        CachedClips(cache),
        batch_sampler=EpochOrder(len(cache), batch_size, seed, shuffle),
        collate_fn=FeatureCollator(tokenizer),
    )
