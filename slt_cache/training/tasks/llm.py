"""Task of stage 2: adapter and encoder-decoder on cached features, without pixels.

Serves the LLM with its two learning rates, and the Light-T baseline, trained further on the same cache."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from slt_cache.batches.features import FeatureBatch
from slt_cache.batches.sampler import EpochOrder
from slt_cache.models.translators import SignTranslator
from slt_cache.training.diagnostics import last_layers
from slt_cache.training.objectives.base import Outputs
from slt_cache.training.objectives.model import WithObjectives, bare, begin_epoch, heads
from slt_cache.training.optimizers import AdamW

READ_AT_ONCE = 8
"""Batches read at once: after a step the processor's caches are cold, and the first batch takes twice as long as those
read with it."""


class FromCacheTask:
    """Training task on cached features, with one learning rate for the adapter and one for the encoder-decoder (Chen et
    al. 2024, 4.3)."""

    unit = "steps"

    def __init__(
        self,
        name: str,
        model: SignTranslator | WithObjectives,
        loader: DataLoader[Any],
        *,
        lr: float,
        adapter_lr: float,
        weight_decay: float,
        evaluate: Callable[[], dict[str, float]],
        save_best: Callable[[int, dict[str, float]], None],
    ):
        """`model` may have further terms of the loss."""
        self.name = name
        self.model: Any = model
        self.loader = loader
        self.batches_an_epoch = len(loader)
        self.lrs = (lr, adapter_lr)
        self.weight_decay = weight_decay
        self.evaluate = evaluate
        self.save_best = save_best

    def optimizer(self) -> Optimizer:
        """Returns Adam, or with weight decay its decoupled form AdamW. With LoRA, only its matrices are trained in the
        LLM."""
        (lr, adapter_lr), model = self.lrs, bare(self.model)
        groups = [
            {"params": [weight for weight in model.seq2seq.parameters() if weight.requires_grad], "lr": lr},
            {"params": [*model.adapter.parameters(), *heads(self.model)], "lr": adapter_lr},
        ]
        return AdamW(groups, weight_decay=self.weight_decay)

    def batches(self, epoch: int, first: int = 0) -> Iterator[FeatureBatch]:
        order = self.loader.batch_sampler
        assert isinstance(order, EpochOrder)
        order.epoch, order.first = epoch, first
        begin_epoch(self.model, epoch)
        idle = order.idle()
        numbered = islice(enumerate(self.loader, first), self.batches_an_epoch - first)
        while batches := list(islice(numbered, READ_AT_ONCE)):
            for number, batch in batches:
                yield replace(batch, targets=batch.targets.uncounted()) if number in idle else batch

    def logits(self, model: nn.Module, batch: FeatureBatch) -> torch.Tensor | Outputs:
        if isinstance(self.model, WithObjectives):
            outputs: Outputs = model(batch)
            return outputs
        targets = batch.targets
        logits: torch.Tensor = model(batch.features, batch.lengths, targets.decoder_input_ids, targets.languages)
        return logits

    def epoch_ended(self, epoch: int) -> None:
        """Does nothing, since single epochs are not kept."""

    def last_layers(self) -> dict[str, nn.Module]:
        return last_layers(bare(self.model), "llm")
