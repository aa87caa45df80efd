"""Micro-batches of an update, and the clock of a training."""

import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from slt_cache.batches.targets import Targets
from slt_cache.training import sync
from slt_cache.training.logs import read_metrics
from slt_cache.training.loop import train
from tests.helpers.toy_training import (
    BATCH,
    STEPS,
    WORDS,
    Killed,
    ToyBatch,
    ToyTask,
    options_of,
)


def test_seconds_of_an_earlier_run_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(sync, "time", SimpleNamespace(monotonic=lambda: now))

    def tick() -> None:
        nonlocal now
        now += 1.0

    killed = ToyTask([1.0] * 4, kill=(2, 3), on_batch=tick)
    with pytest.raises(Killed):
        train(killed, options_of(tmp_path))
    now += 500.0  # between the two runs
    resumed = ToyTask([1.0] * 4, on_batch=tick)
    assert train(resumed, options_of(tmp_path)).seconds == 4 * STEPS


def clip_by_clip(batch: ToyBatch) -> list[ToyBatch]:
    rows = zip(batch.ids, batch.features.split(1), batch.targets.labels.split(1), strict=True)
    return [ToyBatch((clip,), features, Targets(labels, labels)) for clip, features, labels in rows]


class PlainTask(ToyTask):
    """Without what looks at a whole batch, or draws for it: batch normalization and dropout."""

    split = False

    def __init__(self) -> None:
        super().__init__([1.0] * 4)
        self.model = nn.Sequential(nn.Tanh(), nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, WORDS))

    @property
    def batches_an_epoch(self) -> int:  # type: ignore[override]
        return STEPS * BATCH if self.split else STEPS

    def batches(self, epoch: int, first: int = 0) -> Iterator[ToyBatch]:
        for batch in super().batches(epoch, first):
            yield from clip_by_clip(batch) if self.split else [batch]


class SplitTask(PlainTask):
    split = True


def test_accumulated_batches_are_one_large_batch(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"label_smoothing": 0.1, "clip_norm": 0.5, "warmup_steps": 5}
    large = PlainTask()
    expected = train(large, options_of(tmp_path / "large", **settings))
    torch.manual_seed(0)  # the same first weights
    small = SplitTask()
    progress = train(small, options_of(tmp_path / "small", accumulate=BATCH, **settings))
    assert (progress.step, progress.epoch) == (expected.step, expected.epoch) == (4 * STEPS, 4)
    for (name, one), other in zip(large.model.state_dict().items(), small.model.state_dict().values(), strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-6), name
    losses = [
        [line["loss"] for line in read_metrics(tmp_path / name / "last" / "metrics.jsonl")]
        for name in ("large", "small")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert [lr for lr, _ in small.lrs[::BATCH]] == [lr for lr, _ in large.lrs]


def test_the_last_group_of_an_epoch_may_be_short(tmp_path: Path) -> None:
    task = ToyTask([1.0] * 4)
    progress = train(task, options_of(tmp_path, accumulate=5, warmup_steps=2))
    assert (progress.step, len(task.lrs)) == (4 * 3, 4 * STEPS)  # 5 + 5 + 2 batches
    assert [lr for lr, _ in task.lrs[:12:5]] == pytest.approx([0.1 / 3, 0.2 / 3, 0.1])
    assert task.lrs[-1][0] == pytest.approx(0.1 * 0.5 * (1 + math.cos(math.pi * 9 / 10)))
