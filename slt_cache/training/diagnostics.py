"""Gradient and parameter norms of the last layer of each module, which motivate the method (Chen et al. 2024, figure
2)."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from slt_cache.models.translators import SignTranslator, VisualTranslator

ENCODER, LLM = "encoder", "translator"
"""Names of both modules in the metrics log when training from pixels; in stage 1 the translator is Light-T."""


def last_layer(seq2seq: Any) -> nn.Module:
    """Returns the last layer of an LLM's decoder, whatever its family calls the list of layers, the first of its
    lists."""
    decoder = seq2seq.get_decoder() if seq2seq.config.is_encoder_decoder else seq2seq.base_model
    stacks = (part for part in decoder.modules() if isinstance(part, nn.ModuleList))
    layer: nn.Module = next(stacks)[-1]
    return layer


def last_layers(model: SignTranslator | VisualTranslator, seq2seq: str) -> dict[str, nn.Module]:
    """Returns the last layer of each module: encoder if any, adapter, and the encoder-decoder under the given name."""
    if isinstance(model, VisualTranslator):
        return {"encoder": model.encoder.temporal, **last_layers(model.translator, seq2seq)}
    return {"adapter": model.adapter.last_layer, seq2seq: last_layer(model.seq2seq)}


@torch.no_grad()
def norms(layers: Mapping[str, nn.Module], scale: float = 1.0) -> dict[str, float]:
    """Returns `grad_norm/NAME` and `param_norm/NAME` of the trained weights of each layer. `scale` is the loss scale of
    fp16. Synchronizes with the device once, for any number of layers."""
    found: dict[str, torch.Tensor] = {}
    for name, layer in layers.items():
        trained = [weight for weight in layer.parameters() if weight.grad is not None]
        if trained:
            gradients = [weight.grad for weight in trained if weight.grad is not None]
            found[f"grad_norm/{name}"] = nn.utils.get_total_norm(gradients) / scale
            found[f"param_norm/{name}"] = nn.utils.get_total_norm([weight.detach() for weight in trained])
    if not found:
        return {}
    return dict(zip(found, torch.stack([norm.float() for norm in found.values()]).tolist(), strict=True))


def llm_larger(lines: Iterable[Mapping[str, Any]], kind: str) -> tuple[float, int]:
    """Returns the fraction of the logged steps in which the LLM's norm exceeds the encoder's, and the number of steps
    that have both. `lines` are those of the metrics log, `kind` is grad_norm or param_norm."""
    pairs = [(line[f"{kind}/{ENCODER}"], line[f"{kind}/{LLM}"]) for line in lines if f"{kind}/{LLM}" in line]
    return sum(llm > encoder for encoder, llm in pairs) / max(len(pairs), 1), len(pairs)
