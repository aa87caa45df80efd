"""Loading of LLMs with transformers, by hub name, folder or GGUF file: encoder-decoders and decoder-only ones."""

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, cast

import torch
from huggingface_hub.errors import StrictDataclassFieldValidationError
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    GenerationConfig,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.utils import logging

from slt_cache.errors import InputError
from slt_cache.models.llm.quantize import quantization, require_quantized
from slt_cache.models.weights import some_of
from slt_cache.reading import first_line
from slt_cache.text.families import family_of_config, is_decoder_only
from slt_cache.text.pretrained import loading, require_plain
from slt_cache.text.sources import config_of, source_of
from slt_cache.text.tokenizer import Tokenizer

LEFT_OVER = re.compile(
    r"(^|\.)(version|position_ids|_float_tensor|embed_positions\.weights|attn(\.attention)?\.(masked_)?bias)$"
)
"""Names of constants that older versions of fairseq and transformers saved and no model has any more, such as the
causal masks in the files of GPT-2, GPT-Neo and StarCoder."""
LAYERDROPS = ("encoder_layerdrop", "decoder_layerdrop", "layerdrop")
"""Settings of M2M100 and XGLM that skip layers; DDP needs every gradient."""
DROPOUT = re.compile(r"(?!classifier|summary)(\w+_)?p?drop(out)?(_\w+)?")
"""Pattern of the dropout settings of decoder-only LLMs, such as attention_dropout, resid_pdrop, hidden_dropout_prob;
the parts of a model that classify or summarize are not used."""
PROBE = 4
"""Number of positions of the text that tests whether an LLM is causal."""
ROUNDING = 1e-3
"""Largest rounding difference of logits, as a share of their standard deviation."""

logging.disable_progress_bar()  # its bar for each written file would break our own


def load_seq2seq(
    name: str,
    pretrained: bool = True,
    dropout: float | None = None,
    tokenizer: Tokenizer | None = None,
    dtype: torch.dtype = torch.float32,
    quantize: str | None = None,
) -> PreTrainedModel:
    """Loads an LLM by hub name, folder or GGUF file, with weights of type `dtype`, its linear layers quantized if
    `quantize` (a value of llm.quantize) or its folder says so; with `pretrained` false, its
    architecture with fresh weights (paper, table 10). A decoder-only LLM gets the end and padding tokens of the
    `tokenizer`, if given, since many a config.json names others. Raises InputError if it is not available."""
    with loading(name):
        config = read_config(name)
        if dropout is not None:
            _set_dropout(name, config, dropout)
        for layerdrop in LAYERDROPS:
            if getattr(config, layerdrop, 0.0):
                setattr(config, layerdrop, 0.0)
        if pretrained:
            model = _load_quantized(name, config, dtype, quantize)
        else:
            model = _text_part(_auto_class(config).from_config(config, dtype=dtype, trust_remote_code=False))
            family = family_of_config(config)
            if family is not None and family.has_own_output_layer(config):
                give_own_output_layer(model)
        model.generation_config = without_search_settings(model.generation_config)
        if not config.is_encoder_decoder:
            require_causal(name, model)
    if tokenizer is not None:
        _require_rows(name, model, tokenizer)
    if tokenizer is not None and not config.is_encoder_decoder:
        model.generation_config.update(eos_token_id=tokenizer.eos, pad_token_id=tokenizer.pad)
    return model


def _require_rows(name: str, model: Any, tokenizer: Tokenizer) -> None:
    """Raises InputError if a special token of every sentence has no embedding, such as a padding token that was added
    to the tokenizer alone."""
    rows, used = len(model.get_input_embeddings().weight), {tokenizer.pad, tokenizer.eos, *tokenizer.start}
    beyond = [str(tokenizer.inner.convert_ids_to_tokens(token)) for token in sorted(used) if token >= rows]
    if beyond:
        raise InputError(
            f"llm.name {name}: its tokenizer has the special tokens {', '.join(beyond)}, but the model has only "
            f"{rows:,} embeddings, none for them. Set llm.trim=true, which adds them, or remove them from its "
            "tokenizer_config.json."
        )


def without_weights(config: PretrainedConfig) -> PreTrainedModel:
    """Returns an LLM that has the layers of a config, and no memory for their weights."""
    with torch.device("meta"):
        return _text_part(_auto_class(config).from_config(config, trust_remote_code=False))


def _auto_class(config: PretrainedConfig) -> Any:
    return AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM


def _set_dropout(name: str, config: PretrainedConfig, dropout: float) -> None:
    """Sets the dropout in a config. Raises InputError if a decoder-only LLM has none."""
    if config.is_encoder_decoder:
        settings = [(config, "dropout_rate" if hasattr(config, "dropout_rate") else "dropout")]  # T5's name
    else:
        settings = _dropouts(config.get_text_config(decoder=True))
    if not settings:
        raise InputError(f"llm_training.dropout: {name} has no dropout. Omit the setting.")
    for part, setting in settings:
        with suppress(StrictDataclassFieldValidationError):  # MPT's attention, whose rate must be an integer
            setattr(part, setting, dropout)


def _dropouts(config: PretrainedConfig) -> list[tuple[PretrainedConfig, str]]:
    """Returns the dropout settings of a decoder-only LLM, each with the config that holds it: some parts have their
    own, such as MPT's attention."""
    own = [(config, key) for key, value in vars(config).items() if DROPOUT.fullmatch(key) and _is_number(value)]
    parts = [value for value in vars(config).values() if isinstance(value, PretrainedConfig)]
    return [*own, *(found for part in parts for found in _dropouts(part))]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@torch.no_grad()
def require_causal(name: str, model: Any) -> None:
    """Raises InputError if the model cannot generate from embeddings, or if a position attends to later ones: trained
    so, it would learn to copy the target and generate nonsense without any error."""
    words = model.get_input_embeddings().weight
    embeds = torch.randn(2, PROBE, words.shape[1], generator=torch.Generator().manual_seed(0)).to(words)
    embeds[1, :-1] = embeds[0, :-1]
    was_training, _ = model.training, model.eval()
    try:
        first, other = model(inputs_embeds=embeds, use_cache=False).logits[:, : PROBE - 1].float()
        model.generate(inputs_embeds=embeds, num_beams=2, max_new_tokens=1, do_sample=False, pad_token_id=0)
    except Exception as error:  # each class that cannot do it raises its own
        raise InputError(
            f"llm.name {name}: {type(model).__name__} cannot generate from embeddings by beam search "
            f"({first_line(error)}). Use another LLM."
        ) from error
    finally:
        model.train(was_training)
    rounding = max(ROUNDING, 4 * torch.finfo(words.dtype).eps)
    if (first - other).abs().max() > rounding * first.std():
        raise InputError(
            f"llm.name {name}: {type(model).__name__} attends in both directions, so it cannot generate text. Use a "
            "decoder-only LLM or an encoder-decoder."
        )


def read_config(name: str) -> PretrainedConfig:
    """Reads an LLM's config; call it inside `loading`. Raises InputError for another kind of model, or for a config
    that asks for more than data."""
    config: PretrainedConfig = config_of(name)
    require_plain(name, config.to_dict())
    if is_decoder_only(name, config) and getattr(config.get_text_config(), "vocab_size_per_layer_input", None):
        raise InputError(
            f"llm.name {name}: its layers look up tokens in tables of their own ({config.model_type}), and a "
            "video has no tokens. Use another LLM, such as Gemma 3 of the same size."
        )
    return config


def load_whole(name: str, **options: Any) -> PreTrainedModel:
    """Loads a model with all its weights from a folder, a GGUF file or the hub; call it inside `loading`, with its
    `config` among the options. transformers fills missing tensors with random numbers and only logs it; here it is an
    InputError that names them."""
    source, gguf = source_of(name)
    model: PreTrainedModel
    model, found = _auto_class(options["config"]).from_pretrained(
        source,
        trust_remote_code=False,
        weights_only=True,
        ignore_mismatched_sizes=True,  # they are refused below, by name
        output_loading_info=True,
        **gguf,
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
    return _unquantized(model) if gguf else _text_part(model)


def _text_part(model: Any) -> PreTrainedModel:
    """Returns the language model of one that also reads images, such as Gemma 3 from 4B on, with the same weights:
    alone it can be trimmed, and generates from embeddings. A model without other parts is returned as it is."""
    config, output = model.config.get_text_config(), model.get_output_embeddings()
    if model.config.is_encoder_decoder or config is model.config:
        return cast(PreTrainedModel, model)
    config.tie_word_embeddings = output.weight is model.get_input_embeddings().weight
    with torch.device("meta"):
        alone = AutoModelForCausalLM.from_config(config, dtype=model.dtype)
    setattr(alone, alone.base_model_prefix, model.get_decoder())
    alone.set_output_embeddings(output)
    alone.generation_config = model.generation_config
    return cast(PreTrainedModel, alone.train(model.training))


def _unquantized(model: PreTrainedModel) -> PreTrainedModel:
    """Returns an ordinary model with the weights of one from a GGUF file, which transformers refuses to save."""
    vars(model.config).pop("quantization_config", None)  # a folder saved with it would be refused
    fresh: PreTrainedModel = AutoModelForCausalLM.from_config(model.config, dtype=model.dtype)
    fresh.load_state_dict(model.state_dict())
    fresh.generation_config = model.generation_config
    fresh.eval()
    return fresh


def checkpoint_activations(model: Any) -> None:
    """Makes the model recompute the activations of its layers in the backward pass of training. Raises InputError if it
    cannot."""
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    try:
        enable({"use_reentrant": False})
    except ValueError as error:
        raise InputError(
            f"llm_training.checkpointing: {type(model).__name__} does not support it. Set it to false."
        ) from error


def _load_quantized(name: str, config: PretrainedConfig, dtype: torch.dtype, quantize: str | None) -> PreTrainedModel:
    """Loads a model with all its weights, quantized if `quantize` or its config says so."""
    quantized = quantization(name, config, quantize, dtype)
    model = load_whole(name, config=config, dtype=dtype, **quantized)
    if quantized:
        require_quantized(model)
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
