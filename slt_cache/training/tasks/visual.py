"""Task of training from pixels: stage 1 with Light-T, and the LLM with parts of the encoder (paper, tables 4, 5 and
9)."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, Optimizer
from torch.utils.data import DataLoader

from slt_cache.batches.clips import ClipBatch
from slt_cache.batches.sampler import EpochOrder
from slt_cache.config import LlmTrainingConfig, VisualTrainingConfig
from slt_cache.errors import InputError
from slt_cache.models.translators import VisualTranslator
from slt_cache.training.diagnostics import last_layers
from slt_cache.training.objectives.base import Outputs
from slt_cache.training.objectives.model import WithObjectives, bare, begin_epoch, heads
from slt_cache.training.optimizers import AdamW
from slt_cache.video.stream import UnreadableVideo


class FromPixelsTask:
    """Training task of visual encoder and translator, end to end (Chen et al. 2024, 4.2)."""

    unit = "frames"

    def __init__(
        self,
        name: str,
        model: VisualTranslator | WithObjectives,
        loader: DataLoader[Any],
        optimizer: Callable[[], Optimizer],
        evaluate: Callable[[], dict[str, float]],
        save_best: Callable[[int, dict[str, float]], None],
        epoch_ended: Callable[[int], None] = lambda _: None,
    ):
        """`model` may have further terms of the loss."""
        self.name = name
        self.model: Any = model
        self.loader = loader
        self.optimizer = optimizer
        self.batches_an_epoch = len(loader)
        self.evaluate = evaluate
        self.save_best = save_best
        self.epoch_ended = epoch_ended

    def batches(self, epoch: int, first: int = 0) -> Iterator[ClipBatch]:
        """Yields the batches of an epoch. Raises UnreadableVideo rather than skipping a clip, which would change the
        training."""
        order = self.loader.batch_sampler
        assert isinstance(order, EpochOrder)
        order.epoch, order.first = epoch, first
        begin_epoch(self.model, epoch)
        if epoch == 1:
            torch.empty(
                (), dtype=torch.int64
            ).random_()  # as the loader once did, so that seeds keep giving the same weights
        idle = order.idle()
        for number, batch in enumerate(self.loader, first):
            if isinstance(batch, UnreadableVideo):
                raise batch
            if len(batch.frames) == 1:
                raise InputError(
                    f"clip {batch.ids[0]!r}: batch norm needs two kept frames per batch. Use more or longer clips."
                )
            yield replace(batch, targets=batch.targets.uncounted()) if number in idle else batch

    def logits(self, model: nn.Module, batch: ClipBatch) -> torch.Tensor | Outputs:
        if isinstance(self.model, WithObjectives):
            outputs: Outputs = model(batch)
            return outputs
        targets = batch.targets
        logits: torch.Tensor = model(batch.frames, batch.lengths, targets.decoder_input_ids, targets.languages)
        return logits

    def last_layers(self) -> dict[str, nn.Module]:
        return last_layers(bare(self.model), "translator")


def visual_optimizer(model: nn.Module, settings: VisualTrainingConfig) -> Optimizer:
    """Returns the optimizer of stage 1, SGD in the paper."""
    if settings.optimizer == "sgd":
        return SGD(model.parameters(), settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay)
    return AdamW(model.parameters(), settings.lr, betas=settings.betas, weight_decay=settings.weight_decay)


def joint_optimizer(model: VisualTranslator | WithObjectives, settings: LlmTrainingConfig) -> Optimizer:
    """Returns the optimizer of stage 2, with a separate learning rate for the trained part of the encoder; other terms
    of the loss have that of the adapter."""
    own: VisualTranslator = bare(model)
    lrs = (
        ([*own.translator.seq2seq.parameters()], settings.lr),
        ([*own.translator.adapter.parameters(), *heads(model)], settings.adapter_lr),
        ([*own.encoder.parameters()], settings.encoder_lr),
    )
    groups = [{"params": [weight for weight in weights if weight.requires_grad], "lr": lr} for weights, lr in lrs]
    return AdamW(groups, weight_decay=settings.weight_decay)
