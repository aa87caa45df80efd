"""Loading of encoder-decoders with transformers, by hub name or folder."""

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForSeq2SeqLM, GenerationConfig, PretrainedConfig, PreTrainedModel
from transformers.utils import logging

from slt_cache.errors import InputError
from slt_cache.models.weights import some_of
from slt_cache.text.families import family_of_config, require_encoder_decoder
from slt_cache.text.pretrained import loading, require_plain

LEFT_OVER = re.compile(r"(^|\.)(version|position_ids|_float_tensor|embed_positions\.weights)$")
"""Names of constants that older versions of fairseq and transformers saved and no model has any more."""

logging.disable_progress_bar()  # its bar for each written file would break our own


def load_seq2seq(name: str, pretrained: bool = True, dropout: float | None = None) -> PreTrainedModel:
    """Loads an encoder-decoder by hub name or folder; with `pretrained` false, its architecture with fresh weights
    (paper, table 10). Raises InputError if it is not available."""
    with loading(name):
        config = read_config(name)
        if dropout is not None:
            setattr(config, "dropout_rate" if hasattr(config, "dropout_rate") else "dropout", dropout)  # T5's name
        for layerdrop in (
            "encoder_layerdrop",
            "decoder_layerdrop",
        ):  # M2M100's; DDP needs every gradient
            if getattr(config, layerdrop, 0.0):
                setattr(config, layerdrop, 0.0)
        if pretrained:
            model = load_whole(name, config=config, dtype=torch.float32)
        else:
            model = AutoModelForSeq2SeqLM.from_config(config, dtype=torch.float32, trust_remote_code=False)
            family = family_of_config(config)
            if family is not None and family.has_own_output_layer(config):
                give_own_output_layer(model)
    model.generation_config = without_search_settings(model.generation_config)
    return model


def read_config(name: str) -> PretrainedConfig:
    """Reads an encoder-decoder's config; call it inside `loading`. Raises InputError for another kind of model, or for
    a config that asks for more than data."""
    config: PretrainedConfig = AutoConfig.from_pretrained(name, trust_remote_code=False)
    require_plain(name, config.to_dict())
    require_encoder_decoder(name, config)
    return config


def load_whole(name: str, **options: Any) -> PreTrainedModel:
    """Loads a model with all its weights from a folder or the hub; call it inside `loading`. transformers fills missing
    tensors with random numbers and only logs it; here it is an InputError that names them."""
    model: PreTrainedModel
    model, found = AutoModelForSeq2SeqLM.from_pretrained(
        name,
        trust_remote_code=False,
        weights_only=True,
        ignore_mismatched_sizes=True,  # they are refused below, by name
        output_loading_info=True,
        **options,
    )
    mismatched = [f"{key} of {_sizes(*sizes)}" for key, *sizes in found["mismatched_keys"]]
    wrong = {
        "lacks": sorted(found["missing_keys"]),
        "has the unknown": sorted(key for key in found["unexpected_keys"] if not LEFT_OVER.search(key)),
        "has a different shape for": sorted(mismatched),
    }
    problems = [f"{what} {some_of(keys)}" for what, keys in wrong.items() if keys]
    if problems or found["error_msgs"]:
        problem = "; ".join(problems or found["error_msgs"][:1])
        raise InputError(
            f"llm.name {name}: its weights do not match its config.json (the file {problem}). Use config.json and "
            "weights from the same download, or restore a copy."
        )
    return model


def _sizes(file: Sequence[int], model: Sequence[int]) -> str:
    return f"{list(file)} and not {list(model)}"


def give_own_output_layer(model: PreTrainedModel) -> None:
    """Gives a fresh mT5 an output layer of its own, which transformers 5 ties to the word embedding whatever the config
    says: with embeddings as large as T5's, unscaled, logits would be tens too high."""
    width: int = model.config.d_model
    model.lm_head.weight = nn.Parameter(torch.randn(model.lm_head.weight.shape) * width**-0.5)  # logits about 1
    del model.all_tied_weights_keys["lm_head.weight"]


def without_search_settings(published: GenerationConfig) -> GenerationConfig:
    """Returns a generation config with only the ids of a published one; its task settings (beams, minimum length,
    n-grams not to repeat) would interfere with ours."""
    ids = ("pad_token_id", "eos_token_id", "bos_token_id", "decoder_start_token_id", "forced_eos_token_id")
    return GenerationConfig(**{name: getattr(published, name) for name in ids})
