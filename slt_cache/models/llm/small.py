"""Fresh models of a family: small ones of the same architecture as the large ones, for corpora that pre-train their
own, and models of any shape for benchmarks."""

import copy
from typing import Any

from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, PretrainedConfig, PreTrainedModel

from slt_cache.config import LlmPretrainingConfig
from slt_cache.models.llm.load import give_own_output_layer
from slt_cache.text.families import Family, small_family
from slt_cache.text.shapes import Shape


def make_small(
    name: str, shape: LlmPretrainingConfig, vocabulary: int, pad: int, eos: int, language_code: int
) -> PreTrainedModel:
    """Makes the small LLM of this `name`, a value of llm.name. All families use the same tokenizer's ids, so comparing
    two compares architectures."""
    family = small_family(name)
    assert family is not None and family.small is not None, name
    ids = {"vocabulary": vocabulary, "pad": pad, "eos": eos, "start": language_code}
    return make_fresh(family, {**family.config_settings(shape, dropout=shape.dropout, **ids), **family.small})


def make_of_shape(family: Family, shape: Shape, vocabulary: int) -> PreTrainedModel:
    """Makes a model of random weights for benchmarks."""
    return make_fresh(family, family.config_settings(shape, vocabulary=vocabulary))


def make_one_layer(published: PretrainedConfig, vocabulary: int) -> tuple[PreTrainedModel, int]:
    """Makes a decoder-only LLM of random weights with the first of its layers alone; also returns how many it has."""
    config = copy.deepcopy(published.get_text_config(decoder=True))
    layers: int = config.num_hidden_layers
    config.num_hidden_layers, config.vocab_size = 1, vocabulary
    config.pad_token_id, config.bos_token_id, config.eos_token_id = 0, 1, 2
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:1]
    return AutoModelForCausalLM.from_config(config), layers


def make_fresh(family: Family, settings: dict[str, Any]) -> PreTrainedModel:
    """Makes a model of fresh weights from config settings."""
    config = AutoConfig.for_model(family.model_types[0], **settings)
    model: PreTrainedModel = AutoModelForSeq2SeqLM.from_config(config)
    if family.has_own_output_layer(config):
        give_own_output_layer(model)
    return model
