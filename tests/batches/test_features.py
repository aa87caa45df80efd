"""Batches of cached features: views that follow from the seed, padding, worker processes."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from slt_cache.batches.features import CachedClips, FeatureBatch, feature_loader
from slt_cache.features.cache import FeatureCache
from tests.helpers.caches import (
    DIM,
    IDS,
    LENGTHS,
    TEXTS,
)


def views_seen(data: CachedClips, cache: FeatureCache, epochs: int) -> list[list[int]]:
    """The view that each epoch shows of each clip, told by its features."""
    seen = []
    for epoch in range(1, epochs + 1):
        of_epoch = []
        for index, clip_id in enumerate(IDS):
            read_id, features, text = data[epoch, index]
            assert (read_id, text) == (clip_id, TEXTS[index])
            [view] = [v for v in range(cache.views) if np.array_equal(cache.view(clip_id, v), features)]
            of_epoch.append(view)
        seen.append(of_epoch)
    return seen


def test_training_draws_every_view_and_follows_from_seed_epoch_and_index(seen_thrice: FeatureCache) -> None:
    seen = views_seen(CachedClips(seen_thrice, seed=3), seen_thrice, 30)
    for of_clip in zip(*seen, strict=True):
        assert set(of_clip) == {0, 1, 2}
    assert len({tuple(of_epoch) for of_epoch in seen}) > 10  # clips of an epoch are not drawn alike
    again = CachedClips(seen_thrice, seed=3)
    again[17, 2], again[1, 1]  # whatever is asked for in between
    assert views_seen(again, seen_thrice, 30) == seen
    assert views_seen(CachedClips(seen_thrice, seed=4), seen_thrice, 30) != seen


def test_without_a_seed_view_0_is_read(seen_thrice: FeatureCache) -> None:
    assert views_seen(CachedClips(seen_thrice), seen_thrice, 5) == [[0, 0, 0, 0]] * 5


@pytest.mark.parametrize("shuffle", [False, True])
def test_only_shuffled_batches_see_augmented_views(seen_thrice: FeatureCache, tokenizer: Any, shuffle: bool) -> None:
    loader = feature_loader(seen_thrice, tokenizer, batch_size=2, seed=1, shuffle=shuffle)
    seen = set()
    for epoch in range(1, 9):
        loader.batch_sampler.epoch = epoch  # type: ignore[union-attr]
        for batch in loader:
            for clip_id, length in zip(batch.ids, batch.lengths.tolist(), strict=True):
                seen.add(length - LENGTHS[IDS.index(clip_id)])
    assert seen == ({0, 1, 2} if shuffle else {0})


def test_batches_of_features_are_padded_with_zeros(cache: FeatureCache, tokenizer: Any) -> None:
    batches: list[FeatureBatch] = list(feature_loader(cache, tokenizer, batch_size=3, shuffle=False))
    assert [batch.ids for batch in batches] == [IDS[:3], IDS[3:]]
    assert batches[0].lengths.tolist() == list(LENGTHS[:3])
    for batch in batches:
        assert batch.features.shape == (len(batch.ids), max(batch.lengths), DIM)
        assert batch.size == sum(LENGTHS[IDS.index(clip_id)] for clip_id in batch.ids)
        for clip_id, steps, length in zip(batch.ids, batch.features.numpy(), batch.lengths, strict=True):
            assert np.array_equal(steps[:length], cache[clip_id].astype(np.float32))
            assert not steps[length:].any()
    assert {batch.features.dtype for batch in batches} == {torch.float32}
    assert batches[1].targets.decoder_input_ids.tolist() == [[*tokenizer.start, *tokenizer.encode("ein satz")]]


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_a_cache_may_be_read_by_worker_processes(cache: FeatureCache, method: str) -> None:
    assert (len(cache.features), len(cache.texts)) == (sum(LENGTHS), 4)  # mapped before the workers are started
    loader: DataLoader[Any] = DataLoader(
        CachedClips(cache),
        sampler=[(1, index) for index in (2, 0, 3, 1)],
        batch_size=None,
        num_workers=2 if method == "fork" else 1,
        multiprocessing_context=method,
    )
    read = list(loader)
    assert [(clip_id, text) for clip_id, _, text in read] == [(IDS[index], TEXTS[index]) for index in (2, 0, 3, 1)]
    for clip_id, features, _ in read:
        assert np.array_equal(features.numpy(), cache[clip_id].astype(np.float32))
