"""Model in training together with the further terms of its loss."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from slt_cache.config import CROSS_ENTROPY
from slt_cache.device import moved
from slt_cache.models.llm.encoder_decoder import EncoderDecoder
from slt_cache.models.translators import SignTranslator, VisualTranslator
from slt_cache.training.objectives.base import Objective, Outputs, Seen, Sentences, Setup, Term
from slt_cache.training.objectives.registry import is_plain, make_objectives, weight_of, without_sentence_encoder


class WithObjectives(nn.Module):
    """Wrapper of a model in training that also computes the other terms of the loss, whose weights are its own."""

    def __init__(
        self,
        model: VisualTranslator | SignTranslator,
        objectives: Mapping[str, Objective],
        weights: Mapping[str, float],
        setup: Setup,
    ):
        super().__init__()
        self.model = model
        self.objectives = nn.ModuleDict(objectives)
        self.weights = weights
        self.setup = setup
        self.epoch = 1
        """Epoch in training, on which random masks depend."""

    def forward(self, batch: Any) -> Outputs:
        """Takes a batch of clips, or of features for a translator alone."""
        seen, logits = self._read(batch)
        terms = tuple(
            Term(name, one(seen), one.per, weight_of(name, self.weights))
            for name, one in self.objectives.items()
            if isinstance(one, Objective)
        )
        return Outputs(logits, weight_of(CROSS_ENTROPY, self.weights), terms)

    def _read(self, batch: Any) -> tuple[Seen, torch.Tensor]:
        """Runs the model itself; also returns its logits [B, L, V]."""
        frames: tuple[torch.Tensor, ...] = ()
        if isinstance(self.model, VisualTranslator):
            encoder, translator = self.model.encoder, self.model.translator
            packed = encoder.frame_features(batch.frames)
            frames = packed.split(batch.lengths.tolist())
            features = encoder.temporal(packed, batch.lengths)
        else:
            translator, features = self.model, batch.features
        embeds, mask = translator.embed(features, batch.lengths)
        assert isinstance(translator.kind, EncoderDecoder)
        logits, states = translator.kind.read(embeds, mask, batch.targets.decoder_input_ids)
        sentences = Sentences.of(batch.targets.readable, self.setup.tokenizer)
        mask = moved(mask, states.device).bool()
        seen = Seen(translator, batch.targets, sentences, states, mask, frames, self.epoch)
        return seen, logits


def with_objectives(
    model: VisualTranslator | SignTranslator, names: tuple[str, ...], weights: Mapping[str, float], setup: Setup
) -> Any:
    """Returns the model with the terms of these names, or the model itself if its cross-entropy is the only one. Raises
    InputError for an LLM without an encoder for sentences."""
    if is_plain(names, weights):
        return model
    translator = model.translator if isinstance(model, VisualTranslator) else model
    if not isinstance(translator.kind, EncoderDecoder):
        raise without_sentence_encoder(names)
    return WithObjectives(model, make_objectives(names, setup), weights, setup)


def bare(model: Any) -> Any:
    """Returns the model itself, which is saved, scored and exported, without the terms of its loss."""
    return model.model if isinstance(model, WithObjectives) else model


def heads(model: Any) -> list[nn.Parameter]:
    """Returns the weights of the terms of a model's loss, which are not the model's."""
    return list(model.objectives.parameters()) if isinstance(model, WithObjectives) else []


def begin_epoch(model: Any, epoch: int) -> None:
    """Sets the epoch of random masks."""
    if isinstance(model, WithObjectives):
        model.epoch = epoch
