"""Stage 2 as a task."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from slt_cache.batches.features import feature_loader
from slt_cache.config import (
    OptimizerConfig,
)
from slt_cache.features.cache import FeatureCache
from slt_cache.features.parts import ClipFeatures, add_splits, content_of
from slt_cache.models.translators import SignTranslator
from slt_cache.text.tokenizer import Tokenizer
from slt_cache.training.logs import read_metrics
from slt_cache.training.loop import train
from slt_cache.training.task import TrainerOptions
from slt_cache.training.tasks.llm import FromCacheTask
from tests.helpers.caches import facts_of, spec_of


def test_stage_2_has_one_rate_for_the_adapter_and_one_for_the_rest(
    small_mbart: Any, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    sentences = ["heute regnet es", "fällt schnee im norden", "es ist trocken", "es weht ein wind"]
    random = np.random.default_rng(0)
    rows = [
        ClipFeatures(f"clip {n}", text, 4 * n + 4, 25.0, random.normal(size=(n + 1, 32)).astype(np.float32))
        for n, text in enumerate(sentences)
    ]
    add_splits(tmp_path / "feats.h5", [content_of(facts_of("train", spec_of("float32", dim=32)), rows)])
    loader = feature_loader(FeatureCache(tmp_path / "feats.h5", "train"), tokenizer, batch_size=2, shuffle=True)
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
