"""Stage 1: visual encoder + Light-T, end to end from pixels."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.utils.data import DataLoader

from slt_cache.batches.clip_batches import ClipBatch
from slt_cache.batches.order import EpochOrder
from slt_cache.config import VisualTrainingConfig
from slt_cache.errors import InputError
from slt_cache.models.sign_translator import VisualTranslator
from slt_cache.video.frames import UnreadableVideo


class VisualTask:
    """Chen et al. 2024, 4.2."""

    name = "stage 1"

    def __init__(
        self,
        model: VisualTranslator,
        loader: DataLoader[Any],
        settings: VisualTrainingConfig,
        evaluate: Callable[[], dict[str, float]],
        save_best: Callable[[int, dict[str, float]], None],
    ):
        self.model = model
        self.loader = loader
        self.settings = settings
        self.steps_an_epoch = len(loader)
        self.evaluate = evaluate
        self.save_best = save_best

    def optimizer(self) -> Optimizer:
        settings, parameters = self.settings, self.model.parameters()
        if settings.optimizer == "sgd":
            return SGD(parameters, settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay)
        return AdamW(parameters, settings.lr, betas=settings.betas, weight_decay=settings.weight_decay)

    def batches(self, epoch: int) -> Iterator[ClipBatch]:
        """Raises UnreadableVideo: a training that goes on without a clip would be another training."""
        order = self.loader.batch_sampler
        assert isinstance(order, EpochOrder)
        order.epoch = epoch
        for batch in self.loader:
            if isinstance(batch, UnreadableVideo):
                raise batch
            if len(batch.frames) == 1:
                raise InputError(
                    f"clip {batch.ids[0]!r}: a batch of one kept frame cannot be normalized. Give more or longer clips."
                )
            yield batch

    def logits(self, model: nn.Module, batch: ClipBatch) -> torch.Tensor:
        return model(batch.frames, batch.lengths, batch.targets.decoder_input_ids)
