"""An encoder-decoder of transformers, by hub name or folder."""

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForSeq2SeqLM, GenerationConfig, PretrainedConfig, PreTrainedModel
from transformers.utils import logging

from slt_cache.errors import InputError
from slt_cache.text.tokenizer import hub_message

logging.disable_progress_bar()  # a bar for each file that is written would tear our own apart


def load_seq2seq(name: str, pretrained: bool = True, dropout: float | None = None) -> PreTrainedModel:
    """An encoder-decoder by hub name or folder; with `pretrained` false its architecture with fresh weights
    (paper, table 10). Raises InputError where it cannot be had."""
    try:
        config = AutoConfig.from_pretrained(name)
        if dropout is not None:
            setattr(config, "dropout_rate" if hasattr(config, "dropout_rate") else "dropout", dropout)  # T5's name
        for layerdrop in ("encoder_layerdrop", "decoder_layerdrop"):  # M2M100's; several processes want every gradient
            if getattr(config, layerdrop, 0.0):
                setattr(config, layerdrop, 0.0)
        if pretrained:
            model = AutoModelForSeq2SeqLM.from_pretrained(name, config=config, dtype=torch.float32)
        else:
            model = AutoModelForSeq2SeqLM.from_config(config, dtype=torch.float32)
            if _has_own_output_layer(config):
                give_own_output_layer(model)
    except (OSError, ValueError) as error:
        raise InputError(hub_message(name, error)) from error
    model.generation_config = ids_alone(model.generation_config)
    return model


def _has_own_output_layer(config: PretrainedConfig) -> bool:
    """mT5 and T5 1.1, whose configs say otherwise in transformers 5; T5 1.0 scales what its tied one reads."""
    return config.model_type == "mt5" or (config.model_type == "t5" and not config.scale_decoder_outputs)


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
