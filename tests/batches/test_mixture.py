"""How often clips of several corpora and languages occur in an epoch."""

from collections import Counter

import numpy as np
import pytest

from slt_cache.batches.mixture import mixture_of
from slt_cache.batches.sampler import WHOLE, EpochOrder, Shard
from slt_cache.config import LlmTrainingConfig
from slt_cache.corpora.base import Origin

GROUPS = [Origin("a", "de")] * 64 + [Origin("b", "en")] * 4
CLIPS = len(GROUPS)


def order(temperature: float | None, shard: Shard = WHOLE, seed: int = 5) -> EpochOrder:
    lengths = [number % 7 + 1 for number in range(CLIPS)]
    return EpochOrder(CLIPS, 8, seed, True, lengths, shard, mixture=mixture_of(GROUPS, temperature, seed))


def clips_of(sampler: EpochOrder, epoch: int, first: int = 0) -> list[list[int]]:
    sampler.epoch, sampler.first = epoch, first
    return [[index for _, index in batch] for batch in sampler]


def share(temperature: float) -> float:
    found = [index % CLIPS for batch in clips_of(order(temperature), 1) for index in batch]
    assert len(found) == CLIPS
    return sum(index >= 64 for index in found) / CLIPS


def test_shares_follow_the_temperature() -> None:
    assert share(2.0) == pytest.approx(2 / (8 + 2), abs=0.5 / CLIPS + 1e-9)
    assert share(1e9) == pytest.approx(0.5, abs=0.5 / CLIPS)


@pytest.mark.parametrize("temperature", [None, 1.0])
def test_without_a_temperature_the_order_is_as_ever(temperature: float | None) -> None:
    before = EpochOrder(CLIPS, 8, 5, True, [number % 7 + 1 for number in range(CLIPS)])
    assert [clips_of(order(temperature), epoch) for epoch in (1, 2)] == [clips_of(before, epoch) for epoch in (1, 2)]
    assert mixture_of([Origin("a", "de")] * 9, 5.0, 0) is None


def test_any_number_of_processes_sees_the_same_batches_and_an_epoch_can_be_resumed() -> None:
    alone = clips_of(order(3.0), 2)
    parts = [clips_of(order(3.0, Shard(rank, 3)), 2) for rank in range(3)]
    assert [sorted(index for part in parts for index in part[number]) for number in range(len(alone))] == [
        sorted(batch) for batch in alone
    ]
    assert clips_of(order(3.0), 2, first=4) == alone[4:]
    assert clips_of(order(3.0), 3) != alone


def test_every_clip_has_its_turn_and_none_is_preferred_within_its_corpus() -> None:
    sampler = order(4.0)
    counts = Counter(index % CLIPS for epoch in range(1, 25) for batch in clips_of(sampler, epoch) for index in batch)
    large, small = ([counts[clip] for clip in clips] for clips in (range(64), range(64, 68)))
    assert min(large) >= 1
    assert max(large) - min(large) <= 1
    assert max(small) - min(small) <= 1
    assert min(small) > max(large)


def test_a_clip_that_occurs_again_in_an_epoch_is_another_item() -> None:
    found = [index for batch in clips_of(order(1e6), 1) for index in batch]
    assert len(set(found)) == CLIPS
    again = np.array([index for index in found if index >= CLIPS])
    assert set((again % CLIPS).tolist()) <= {64, 65, 66, 67}


def test_records_of_trainings_without_a_temperature_stay_as_they_were() -> None:
    assert "temperature" not in LlmTrainingConfig().recorded()
    assert LlmTrainingConfig(temperature=5.0).recorded()["temperature"] == 5.0
