"""Task of pre-training a small MBart on text alone: restore sentences whose words are masked (Liu et al. 2020)."""

from collections.abc import Callable, Iterator

import torch
from torch import nn
from torch.optim import Optimizer
from transformers import PreTrainedModel

from slt_cache.batches.denoising import NoisyBatch, NoisyText
from slt_cache.config import LlmPretrainingConfig
from slt_cache.training.diagnostics import last_layer
from slt_cache.training.optimizers import AdamW


class DenoisingTask:
    """Denoising task; without a dev score, the last weights are kept."""

    name = "pre-training"
    unit = "tokens"

    def __init__(
        self,
        model: PreTrainedModel,
        text: NoisyText,
        settings: LlmPretrainingConfig,
        save: Callable[[int, dict[str, float]], None],
    ):
        self.model: nn.Module = model
        self.text = text
        self.settings = settings
        self.batches_an_epoch = len(text)
        self.save_best = save

    def optimizer(self) -> Optimizer:
        settings = self.settings
        return AdamW(self.model.parameters(), settings.lr, betas=(0.9, 0.98), weight_decay=settings.weight_decay)

    def batches(self, epoch: int, first: int = 0) -> Iterator[NoisyBatch]:
        return self.text.epoch(epoch, first)

    def logits(self, model: nn.Module, batch: NoisyBatch) -> torch.Tensor:
        logits: torch.Tensor = model(
            input_ids=batch.input_ids,
            attention_mask=batch.mask,
            decoder_input_ids=batch.targets.decoder_input_ids,
            use_cache=False,
        ).logits
        return logits

    def epoch_ended(self, epoch: int) -> None:
        """Does nothing, since single epochs are not kept."""

    def last_layers(self) -> dict[str, nn.Module]:
        return {"llm": last_layer(self.model)}

    def evaluate(self) -> dict[str, float]:
        """Returns no scores: pre-training is judged by stage 2."""
        return {}
