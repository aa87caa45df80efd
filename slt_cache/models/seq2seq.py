"""An encoder-decoder of transformers, by hub name or folder."""

import torch
from transformers import AutoConfig, AutoModelForSeq2SeqLM, GenerationConfig, PreTrainedModel
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
        if pretrained:
            model = AutoModelForSeq2SeqLM.from_pretrained(name, config=config, dtype=torch.float32)
        else:
            model = AutoModelForSeq2SeqLM.from_config(config)
    except (OSError, ValueError) as error:
        raise InputError(hub_message(name, error)) from error
    model.generation_config = ids_alone(model.generation_config)
    return model


def ids_alone(published: GenerationConfig) -> GenerationConfig:
    """What a published model says of its task (beams, a least length, n-grams not to repeat) would come between our
    settings and the search; the ids are its own."""
    ids = ("pad_token_id", "eos_token_id", "bos_token_id", "decoder_start_token_id", "forced_eos_token_id")
    return GenerationConfig(**{name: getattr(published, name) for name in ids})
