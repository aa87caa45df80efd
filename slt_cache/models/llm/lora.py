"""Low-rank adaptation of an encoder-decoder (LoRA, Hu et al. 2022), in place and by peft: the model stays what it was,
small matrices beside some of its linear layers learn, and everything else is frozen. Knows no files."""

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import peft
import torch
from peft.tuners.lora import LoraLayer
from torch import nn

from slt_cache.config import LoraConfig
from slt_cache.errors import InputError
from slt_cache.text.families import FAMILIES, family_of_config

NAME = "default"
"""What peft calls the only one."""


def add_lora(seq2seq: nn.Module, settings: LoraConfig) -> None:
    """From here on only the new matrices of `seq2seq` learn; as they begin they change nothing.

    Raises InputError for targets that match no linear layer, naming those that there are."""
    _insert(
        seq2seq,
        peft.LoraConfig(
            task_type=peft.TaskType.SEQ_2_SEQ_LM,
            r=settings.r,
            lora_alpha=settings.alpha,
            lora_dropout=settings.dropout,
            target_modules=_targets(seq2seq, settings.targets),
        ),
    )


def _insert(seq2seq: nn.Module, config: peft.LoraConfig) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by a name that goes in its version 6
        peft.inject_adapter_in_model(config, seq2seq, NAME)


def _targets(seq2seq: Any, asked: tuple[str, ...] | None) -> list[str]:
    there = _linear_layers(seq2seq)
    if asked is None:
        own = family_of_config(seq2seq.config)
        usual = [family.lora_targets for family in ([own] if own is not None else FAMILIES.values())]
        found = next((names for names in usual if set(names) <= there), None)
        if found is None:
            raise InputError(f"llm.lora.targets: set it; this LLM's linear layers are {', '.join(sorted(there))}.")
        return list(found)
    missing = [name for name in asked if name not in there]
    if missing or not asked:
        wrong = f"the LLM has no linear layer called {', '.join(missing)}" if missing else "empty"
        raise InputError(f"llm.lora.targets: {wrong}. There are: {', '.join(sorted(there))}.")
    return list(asked)


def _linear_layers(seq2seq: Any) -> set[str]:
    """Last parts of their names. Without the output layer, which is the word embedding too in most LLMs."""
    output = seq2seq.get_output_embeddings()
    return {
        name.rpartition(".")[2]
        for name, module in seq2seq.named_modules()
        if isinstance(module, nn.Linear) and module is not output
    }


def has_lora(seq2seq: nn.Module) -> bool:
    return next(_layers(seq2seq), None) is not None


def _layers(seq2seq: nn.Module) -> Iterator[tuple[str, Any]]:
    return ((name, module) for name, module in seq2seq.named_modules() if isinstance(module, LoraLayer))


def base_weights(seq2seq: nn.Module) -> dict[str, torch.Tensor]:
    """State dict of the model as it was without LoRA, under its own names."""
    return {
        name.replace(".base_layer.", "."): tensor
        for name, tensor in seq2seq.state_dict().items()
        if ".lora_" not in name
    }


def lora_weights(seq2seq: Any) -> tuple[peft.LoraConfig, dict[str, torch.Tensor]]:
    """The small matrices, under the names of peft's own files, and their settings."""
    state = peft.get_peft_model_state_dict(seq2seq, adapter_name=NAME)
    named = {f"base_model.model.{name}": tensor.detach().contiguous() for name, tensor in state.items()}
    return seq2seq.peft_config[NAME], named


def put_lora(seq2seq: Any, config: peft.LoraConfig, weights: Mapping[str, torch.Tensor]) -> list[str]:
    """Puts into a model what `lora_weights` took out of one like it. Returns the names that only one of both has, or
    whose shapes differ; then nothing is put in."""
    _insert(seq2seq, config)
    state = {name.removeprefix("base_model.model."): tensor for name, tensor in weights.items()}
    own = peft.get_peft_model_state_dict(seq2seq, adapter_name=NAME)
    wrong = sorted(state.keys() ^ own.keys())
    wrong += [name for name in state.keys() & own.keys() if state[name].shape != own[name].shape]
    if not wrong:
        peft.set_peft_model_state_dict(seq2seq, state, adapter_name=NAME)
    return wrong


def merge_lora(seq2seq: nn.Module) -> None:
    """Adds the products of the small matrices to the weights beside them: an ordinary model of nearly the same output,
    since a sum is rounded once more."""
    for name, layer in list(_layers(seq2seq)):
        layer.merge(safe_merge=True)
        seq2seq.set_submodule(name, layer.get_base_layer())
    del seq2seq.peft_config
