"""Adaptation of a decoder-only LLM to a text: each token is predicted from those before it, in a sentence alone, or
after some of its words."""

from collections.abc import Callable, Iterator

import torch
from torch import nn
from torch.optim import Optimizer
from transformers import PreTrainedModel

from slt_cache.batches.prefix import PrefixBatch
from slt_cache.batches.text import TextBatch, TextBatches
from slt_cache.config import LlmPretrainingConfig
from slt_cache.metrics.loss import LOSS
from slt_cache.models.llm.decoder_only import takes_positions, token_positions
from slt_cache.models.translators import token_loss
from slt_cache.training.diagnostics import last_layer
from slt_cache.training.optimizers import AdamW


class CausalTask:
    """Sentences of the text; the loss per token on those of dev decides which weights are kept."""

    name = "pre-training"
    unit = "tokens"

    def __init__(
        self,
        model: PreTrainedModel,
        text: TextBatches,
        dev: TextBatches | None,
        settings: LlmPretrainingConfig,
        save: Callable[[int, dict[str, float]], None],
    ):
        self.model: nn.Module = model
        self.numbered = takes_positions(model)
        self.text = text
        self.dev = dev
        self.settings = settings
        self.batches_an_epoch = len(text)
        self.save_best = save

    def optimizer(self) -> Optimizer:
        """AdamW over the weights that learn: those of LoRA, or all."""
        weights = [weight for weight in self.model.parameters() if weight.requires_grad]
        return AdamW(weights, self.settings.lr, weight_decay=self.settings.weight_decay)

    def batches(self, epoch: int, first: int = 0) -> Iterator[TextBatch]:
        return self.text.epoch(epoch, first)

    def logits(self, model: nn.Module, batch: TextBatch) -> torch.Tensor:
        """Computes the logits of the sentences, [B, L, V]."""
        return logits_of(model, batch, self.numbered)

    def epoch_ended(self, epoch: int) -> None:
        """Nothing is kept of single epochs."""

    def last_layers(self) -> dict[str, nn.Module]:
        return {"llm": last_layer(self.model)}

    def evaluate(self) -> dict[str, float]:
        """Returns the loss per token on dev; empty without dev."""
        return {} if self.dev is None else {LOSS.key: loss_per_token(self.model, self.dev)}


def logits_of(model: nn.Module, batch: TextBatch, numbered: bool) -> torch.Tensor:
    """Computes the logits of the tokens of the sentences, [B, L, V]; `numbered` if the LLM can be told their
    positions."""
    ids = batch.targets.decoder_input_ids
    if not isinstance(batch, PrefixBatch):  # padding stands at the end, where no token sees it
        logits: torch.Tensor = model(input_ids=ids, use_cache=False).logits
        return logits
    attended = torch.cat([batch.mask, torch.ones_like(ids)], 1)
    numbers = {"position_ids": token_positions(attended)} if numbered else {}
    whole = torch.cat([batch.words, ids], 1)
    read: torch.Tensor = model(input_ids=whole, attention_mask=attended, use_cache=False, **numbers).logits
    return read[:, -ids.shape[1] :]


@torch.no_grad()
def loss_per_token(model: nn.Module, text: TextBatches) -> float:
    """Returns the mean cross-entropy in nats of the tokens of a text, ends of sentences among them."""
    device = next(model.parameters()).device
    numbered = takes_positions(model)
    total, tokens = 0.0, 0
    for batch in text.epoch(0):
        moved = batch.to(device)
        total += float(token_loss(logits_of(model, moved, numbered), moved.targets.labels, 0.0))
        tokens += batch.size
    return total / tokens
