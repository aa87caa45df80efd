"""Low-rank adaptation (LoRA, Hu et al. 2022) of an LLM with peft, in place: matrices added to some of its linear layers
are trained, everything else is frozen. Knows no files."""

import copy
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import peft
import torch
from peft.tuners.lora import LoraLayer
from torch import nn
from transformers.pytorch_utils import Conv1D

from slt_cache.config import LoraConfig
from slt_cache.errors import InputError
from slt_cache.models.weights import parameters_of
from slt_cache.progress import log
from slt_cache.reading import first_line
from slt_cache.text.families import FAMILIES, family_of_config

NAME = "default"
"""Name of the only adapter in peft."""
NOT_LINEAR = ("Router", "GroupedLinear")
"""Ends of the names of classes that are linear layers by descent only: they return a tuple (Llama 4, Phi-MoE), or
multiply by groups (DeepSeek-V4)."""
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def add_lora(seq2seq: Any, settings: LoraConfig) -> None:
    """Adds LoRA to `seq2seq` and freezes everything else; initially its output does not change.

    Raises InputError for targets that match no linear layer, listing those that exist."""
    if fused := _fused_experts(seq2seq):
        log(
            f"llm.lora: the experts' fused weights are not adapted ({', '.join(sorted(fused))}: "
            f"{sum(fused.values()) / 1e6:,.1f} of {parameters_of(seq2seq)['all'] / 1e6:,.1f} M parameters)"
        )
    kind = peft.TaskType.SEQ_2_SEQ_LM if seq2seq.config.is_encoder_decoder else peft.TaskType.CAUSAL_LM
    _insert(
        seq2seq,
        peft.LoraConfig(
            task_type=kind,
            r=settings.r,
            lora_alpha=settings.alpha,
            lora_dropout=settings.dropout,
            target_modules=_targets(seq2seq, settings.targets),
            use_dora=settings.dora,
            use_rslora=settings.rslora,
        ),
    )


def _insert(seq2seq: nn.Module, config: peft.LoraConfig) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft uses a name that transformers 6 removes
        warnings.filterwarnings("ignore", "fan_in_fan_out")  # peft transposes GPT-2's Conv1D by itself
        try:
            peft.inject_adapter_in_model(config, seq2seq, NAME)
        except ValueError as error:  # such as layers that Mamba's kernels read by themselves
            raise InputError(f"llm.lora.targets: peft refuses them ({first_line(error)}). Set other layers.") from error
    for name, weight in seq2seq.named_parameters():
        if ".lora_" in name:
            weight.data = weight.data.float()  # peft makes them of the type of the frozen weights


def require_targets(seq2seq: Any, settings: LoraConfig) -> None:
    """Raises InputError for targets that match no linear layer of `seq2seq`, listing those that exist."""
    _targets(seq2seq, settings.targets)


def _targets(seq2seq: Any, asked: tuple[str, ...] | None) -> list[str]:
    existing = _linear_layers(seq2seq)
    if asked is None and not seq2seq.config.is_encoder_decoder:
        return sorted(existing)
    if asked is None:
        own = family_of_config(seq2seq.config)
        usual = [family.lora_targets for family in ([own] if own is not None else FAMILIES.values())]
        found = next((names for names in usual if set(names) <= existing), None)
        if found is None:
            raise InputError(f"llm.lora.targets: set it; this LLM's linear layers are {', '.join(sorted(existing))}.")
        return list(found)
    missing = [name for name in asked if name not in existing]
    if missing or not asked:
        wrong = f"the LLM has no linear layer called {', '.join(missing)}" if missing else "empty"
        raise InputError(f"llm.lora.targets: {wrong}. Existing layers: {', '.join(sorted(existing))}.")
    return list(asked)


def _linear_layers(seq2seq: Any) -> set[str]:
    """Returns the last parts of the names of all linear layers (GPT-2's are Conv1D) but the routers of experts, and the
    output layer, which in most LLMs is also the word embedding."""
    output = seq2seq.get_output_embeddings()
    return {
        name.rpartition(".")[2]
        for name, module in seq2seq.named_modules()
        if isinstance(module, nn.Linear | Conv1D)
        and module is not output
        and not type(module).__name__.endswith(NOT_LINEAR)
    }


def _fused_experts(seq2seq: nn.Module) -> dict[str, int]:
    """Returns the number of parameters of the weights that hold all experts of a layer in one tensor [E, ...], by the
    last part of their names; peft adapts only layers."""
    sizes: dict[str, int] = {}
    for module in seq2seq.modules():
        for name, weight in module.named_parameters(recurse=False):
            if weight.ndim == 3 and not isinstance(module, CONVOLUTIONS):
                sizes[name] = sizes.get(name, 0) + weight.numel()
    return sizes


def has_lora(seq2seq: nn.Module) -> bool:
    return next(_layers(seq2seq), None) is not None


def _layers(seq2seq: nn.Module) -> Iterator[tuple[str, Any]]:
    return ((name, module) for name, module in seq2seq.named_modules() if isinstance(module, LoraLayer))


def base_weights(seq2seq: nn.Module) -> dict[str, torch.Tensor]:
    """Returns the state dict of the model without LoRA, under its own names."""
    return {
        name.replace(".base_layer.", "."): tensor
        for name, tensor in seq2seq.state_dict().items()
        if ".lora_" not in name
    }


def lora_weights(seq2seq: Any) -> tuple[peft.LoraConfig, dict[str, torch.Tensor]]:
    """Returns peft's config and the LoRA weights, under the names of peft's own files."""
    state = peft.get_peft_model_state_dict(seq2seq, adapter_name=NAME)
    named = {f"base_model.model.{name}": tensor.detach().contiguous() for name, tensor in state.items()}
    return seq2seq.peft_config[NAME], named


def put_lora(seq2seq: Any, config: peft.LoraConfig, weights: Mapping[str, torch.Tensor]) -> list[str]:
    """Adds LoRA weights as returned by `lora_weights` to a model of the same kind. Returns the names that are missing,
    unknown or of another shape; then nothing is loaded."""
    _insert(seq2seq, config)
    return fill_lora(seq2seq, weights)


def fill_lora(seq2seq: Any, weights: Mapping[str, torch.Tensor]) -> list[str]:
    """Loads LoRA weights as returned by `lora_weights` into a model with LoRA. Returns the names that are missing,
    unknown or of another shape; then nothing is loaded."""
    state = {name.removeprefix("base_model.model."): tensor for name, tensor in weights.items()}
    own = peft.get_peft_model_state_dict(seq2seq, adapter_name=NAME)
    wrong = sorted(state.keys() ^ own.keys())
    wrong += [name for name in state.keys() & own.keys() if state[name].shape != own[name].shape]
    if not wrong:
        peft.set_peft_model_state_dict(seq2seq, state, adapter_name=NAME)
    return wrong


def merged(seq2seq: nn.Module) -> nn.Module:
    """Returns a copy of the model with the matrices merged in, see `merge_lora`; the model itself trains on."""
    merged_copy = copy.deepcopy(seq2seq)
    merge_lora(merged_copy)
    return merged_copy


def merge_lora(seq2seq: nn.Module) -> None:
    """Merges the LoRA weights into the model, which then is an ordinary one of float32 weights and nearly the same
    output, since the sums are rounded once more."""
    seq2seq.float()  # LoRA's small changes would be lost in bfloat16
    for name, layer in list(_layers(seq2seq)):
        layer.merge(safe_merge=True)
        seq2seq.set_submodule(name, layer.get_base_layer())
    del seq2seq.peft_config
