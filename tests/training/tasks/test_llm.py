"""Stage 2 as a task."""

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from slt_cache.batches.features import FeatureBatch, feature_loader
from slt_cache.config import (
    OptimizerConfig,
)
from slt_cache.features.cache import FeatureCache
from slt_cache.features.parts import ClipFeatures, add_splits, content_of
from slt_cache.models.translators import SignTranslator
from slt_cache.text.tokenizer import Tokenizer
from slt_cache.training.logs import read_metrics
from slt_cache.training.loop import train
from slt_cache.training.objectives.base import Setup
from slt_cache.training.objectives.model import with_objectives
from slt_cache.training.task import TrainerOptions
from slt_cache.training.tasks.llm import FromCacheTask
from tests.helpers.caches import facts_of, spec_of
from tests.helpers.toy_training import assert_same, without_seconds


def test_a_killed_training_with_further_terms_resumes_to_the_bit(
    small_mbart: Any, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    cache = cache_of(tmp_path / "feats.h5")

    def trained(folder: Path, killed: bool = False) -> dict[str, torch.Tensor]:
        torch.manual_seed(6)
        translator = SignTranslator(32, deepcopy(small_mbart), tokenizer.start, feature_dropout=0.3)
        names = ("cross-entropy", "cico", "contrastive", "denoising")
        model = with_objectives(translator, names, {"cico": 0.5}, Setup(translator.kind.width, tokenizer, 4))
        loader = feature_loader(cache, tokenizer, batch_size=2, shuffle=True)

        class Task(FromCacheTask):
            def batches(self, epoch: int, first: int = 0) -> Iterator[FeatureBatch]:
                for number, batch in enumerate(super().batches(epoch, first)):
                    if killed and (epoch, number) == (2, 1):
                        raise KeyboardInterrupt
                    yield batch

        rates = {"lr": 5e-3, "adapter_lr": 1e-2, "weight_decay": 0.0}
        task = Task("stage 2", model, loader, **rates, evaluate=dict, save_best=lambda epoch, dev: None)
        assert len(task.optimizer().param_groups[1]["params"]) == 4 + 3 + 3
        settings = OptimizerConfig(epochs=2, batch_size=2, lr=5e-3)
        train(task, TrainerOptions(settings, 0, 10, "fp32", torch.device("cpu"), folder))
        state: dict[str, torch.Tensor] = model.state_dict()
        return state

    whole = trained(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "killed", killed=True)
    assert_same(trained(tmp_path / "killed"), whole)
    assert without_seconds(tmp_path / "killed") == without_seconds(tmp_path / "whole")


def cache_of(path: Path) -> FeatureCache:
    sentences = ["heute regnet es", "fällt schnee im norden", "es ist trocken", "es weht ein wind"]
    random = np.random.default_rng(0)
    rows = [
        ClipFeatures(f"clip {n}", text, 4 * n + 4, 25.0, random.normal(size=(n + 1, 32)).astype(np.float32))
        for n, text in enumerate(sentences)
    ]
    add_splits(path, [content_of(facts_of("train", spec_of("float32", dim=32)), rows)])
    return FeatureCache(path, "train")


def test_stage_2_has_one_rate_for_the_adapter_and_one_for_the_rest(
    small_mbart: Any, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    loader = feature_loader(cache_of(tmp_path / "feats.h5"), tokenizer, batch_size=2, shuffle=True)
    model = SignTranslator(32, small_mbart, tokenizer.start)
    task = FromCacheTask(
        "stage 2",
        model,
        loader,
        lr=5e-3,
        adapter_lr=1e-2,
        weight_decay=0.0,
        evaluate=dict,
        save_best=lambda epoch, dev: None,
    )
    groups = task.optimizer().param_groups
    assert [(group["lr"], len(group["params"])) for group in groups] == [
        (5e-3, len(list(small_mbart.parameters()))),
        (1e-2, 4),
    ]
    settings = OptimizerConfig(epochs=40, batch_size=2, lr=5e-3, label_smoothing=0.0)
    train(task, TrainerOptions(settings, 0, 10, "fp32", torch.device("cpu"), tmp_path))
    losses = [line["loss"] for line in read_metrics(tmp_path / "last" / "metrics.jsonl") if line["kind"] == "epoch"]
    assert losses[-1] < 0.5 * losses[0]
