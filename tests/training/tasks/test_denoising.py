"""Pre-training of a small LLM as a task."""

from pathlib import Path
from typing import Any

import pytest
import torch

from slt_cache.batches.denoising import NoisyText
from slt_cache.config import LlmPretrainingConfig
from slt_cache.text.tokenizer import Tokenizer
from slt_cache.training.logs import read_metrics
from slt_cache.training.loop import train
from slt_cache.training.task import TrainerOptions
from slt_cache.training.tasks.denoising import DenoisingTask

BRIEF = LlmPretrainingConfig(epochs=3, batch_size=8, lr=3e-3, warmup_steps=0)


@pytest.fixture
def text(sentences: list[str], tokenizer: Tokenizer) -> NoisyText:
    return NoisyText(
        sentences[:20], tokenizer, batch_size=8, seed=0, mask_ratio=0.3, span_mean=3.0, permute_sentences=True
    )


def test_a_small_mbart_learns_to_restore_text_and_its_last_weights_are_kept(
    small_mbart: Any, text: NoisyText, tmp_path: Path
) -> None:
    saved: list[tuple[int, dict[str, float]]] = []
    task = DenoisingTask(small_mbart, text, BRIEF, lambda epoch, dev: saved.append((epoch, dev)))
    train(task, TrainerOptions(BRIEF, 0, BRIEF.epochs, "fp32", torch.device("cpu"), tmp_path))
    losses = [line["loss"] for line in read_metrics(tmp_path / "last" / "metrics.jsonl") if line["kind"] == "epoch"]
    assert losses[-1] < losses[0]
    assert saved == [(BRIEF.epochs, {})]


def test_an_epoch_of_text_may_begin_at_a_later_batch(small_mbart: Any, text: NoisyText) -> None:
    task = DenoisingTask(small_mbart, text, BRIEF, lambda epoch, dev: None)
    whole, rest = list(task.batches(2)), list(task.batches(2, 1))
    assert task.batches_an_epoch == len(whole) > 1
    assert all(torch.equal(one.input_ids, other.input_ids) for one, other in zip(rest, whole[1:], strict=True))
