"""An encoder-decoder of transformers, by hub name or folder."""

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
"""Of older versions of fairseq and transformers, in published files: constants that no model has any more."""

logging.disable_progress_bar()  # a bar for each file that is written would tear our own apart


def load_seq2seq(name: str, pretrained: bool = True, dropout: float | None = None) -> PreTrainedModel:
    """An encoder-decoder by hub name or folder; with `pretrained` false its architecture with fresh weights
    (paper, table 10). Raises InputError where it cannot be had."""
    with loading(name):
        config = read_config(name)
        if dropout is not None:
            setattr(config, "dropout_rate" if hasattr(config, "dropout_rate") else "dropout", dropout)  # T5's name
        for layerdrop in ("encoder_layerdrop", "decoder_layerdrop"):  # M2M100's; several processes want every gradient
            if getattr(config, layerdrop, 0.0):
                setattr(config, layerdrop, 0.0)
        if pretrained:
            model = load_whole(name, config=config, dtype=torch.float32)
        else:
            model = AutoModelForSeq2SeqLM.from_config(config, dtype=torch.float32, trust_remote_code=False)
            family = family_of_config(config)
            if family is not None and family.has_own_output_layer(config):
                give_own_output_layer(model)
    model.generation_config = ids_alone(model.generation_config)
    return model


def read_config(name: str) -> PretrainedConfig:
    """Reads an encoder-decoder's config; to be called in `loading`. Raises InputError for one of another kind, or that
    asks for more than data."""
    config: PretrainedConfig = AutoConfig.from_pretrained(name, trust_remote_code=False)
    require_plain(name, config.to_dict())
    require_encoder_decoder(name, config)
    return config


def load_whole(name: str, **options: Any) -> PreTrainedModel:
    """The model with all of its weights from the folder or the hub; to be called in `loading`. transformers fills what
    it does not find with random numbers, and says so in its log; here it is an InputError that names the tensors."""
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
        "has another shape for": sorted(mismatched),
    }
    problems = [f"{what} {some_of(keys)}" for what, keys in wrong.items() if keys]
    if problems or found["error_msgs"]:
        problem = "; ".join(problems or found["error_msgs"][:1])
        raise InputError(
            f"llm.name {name}: its weights are not those of its config.json (the file {problem}). Take config.json and "
            "weights from one download, or put back a copy."
        )
    return model


def _sizes(file: Sequence[int], model: Sequence[int]) -> str:
    return f"{list(file)} and not {list(model)}"


def give_own_output_layer(model: PreTrainedModel) -> None:
    """Fresh weights for the output layer of a fresh mT5, which transformers 5 ties to the word embedding, whatever the
    config says: of embeddings as large as T5's, and not scaled, the logits would be tens too high."""
    width: int = model.config.d_model
    model.lm_head.weight = nn.Parameter(torch.randn(model.lm_head.weight.shape) * width**-0.5)  # logits about 1
    del model.all_tied_weights_keys["lm_head.weight"]


def ids_alone(published: GenerationConfig) -> GenerationConfig:
    """What a published model says of its task (beams, a least length, n-grams not to repeat) would come between our
    settings and the search; the ids are its own."""
    ids = ("pad_token_id", "eos_token_id", "bos_token_id", "decoder_start_token_id", "forced_eos_token_id")
    return GenerationConfig(**{name: getattr(published, name) for name in ids})
