"""Families of LLMs, one row each: what differs between them and is not given by transformers' own classes.

| family | decoder reads | and predicts |
|---|---|---|
| MBart | `code tokens` | `tokens </s>` |
| MBart-50, NLLB, M2M100 | `</s> code tokens` | `tokens </s>` |
| BART | `</s> <s> tokens` | `tokens </s>` |
| T5, mT5 and others | `start tokens` | `tokens </s>` |

An encoder-decoder of transformers without a row works too: its config.json says how its target begins, and the rest is
read off the model. To add a family, write its row and call `register`. Imports no model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from slt_cache.config.llm import LIGHT_T as LIGHT_T
from slt_cache.errors import InputError
from slt_cache.text.shapes import PublishedShape, Shape
from slt_cache.text.sources import config_of, local_config
from slt_cache.text.target_start import (
    code_after_eos,
    code_alone,
    start_of_config,
    start_of_config_and_bos,
    start_of_text,
)

SMALL = "small-"
"""Prefix of the values of llm.name that name a model made here; the name of the family follows."""


@dataclass(frozen=True)
class Family:
    """Properties of one family of encoder-decoders."""

    name: str
    title: str
    """Name shown in messages."""
    tokenizers: tuple[str, ...]
    """Tokenizer classes, without the suffix `Tokenizer`."""
    model_types: tuple[str, ...]
    """Values of `model_type` in config.json; fresh models use the first."""
    start: Callable[[Any, str, str | None], tuple[int, ...]]
    """Function that returns the decoder prefix, given the tokenizer, the model's name and the language code."""
    settings: Mapping[str, tuple[str, ...]]
    """Mapping from our names of config settings to the family's."""
    lora_targets: tuple[str, ...]
    """Names of the query and value projections."""
    published: PublishedShape
    wants_language: bool = False
    """Whether the decoder prefix contains a language code."""
    endless: bool = False
    """Whether the number of positions is unlimited (sinusoidal or relative)."""
    vocabulary_file: str = "tokenizer.json"
    """File in which the tokenizer stores its vocabulary; `llm trim` shortens it."""
    has_own_output_layer: Callable[[Any], bool] = field(default=lambda config: False)
    """Function that returns whether a model of this config has an output layer of its own although transformers ties it
    to the word embedding."""
    small: Mapping[str, Any] | None = None
    """Config settings of a small model made here, in addition to its shape and ids; None if the family has none."""

    def config_settings(self, shape: Shape, **values: Any) -> dict[str, Any]:
        """Returns config settings under the family's names, ignoring `values` that the family lacks."""
        ours = {
            "layers": shape.layers,
            "heads": shape.heads,
            "head_width": shape.hidden // shape.heads,
            "hidden": shape.hidden,
            "feed_forward": shape.feed_forward,
            **values,
        }
        return {name: value for our, value in ours.items() for name in self.settings.get(our, ())}


FAMILIES: dict[str, Family] = {}
"""Registered families, in lookup order."""


def register(family: Family) -> Family:
    """Registers a family, replacing one of the same name."""
    FAMILIES[family.name] = family
    return family


_IDS = {"vocabulary": ("vocab_size",), "pad": ("pad_token_id",), "start": ("decoder_start_token_id",)}
_LIKE_BART: Mapping[str, tuple[str, ...]] = {
    **_IDS,
    "eos": ("eos_token_id", "forced_eos_token_id"),
    "hidden": ("d_model",),
    "layers": ("encoder_layers", "decoder_layers"),
    "heads": ("encoder_attention_heads", "decoder_attention_heads"),
    "feed_forward": ("encoder_ffn_dim", "decoder_ffn_dim"),
    "dropout": ("dropout",),
}
_LIKE_T5: Mapping[str, tuple[str, ...]] = {
    **_IDS,
    "eos": ("eos_token_id",),
    "hidden": ("d_model",),
    "layers": ("num_layers", "num_decoder_layers"),
    "heads": ("num_heads",),
    "head_width": ("d_kv",),
    "feed_forward": ("d_ff",),
    "dropout": ("dropout_rate",),
}

_MBART = register(
    Family(
        name="mbart",
        title="MBart",
        tokenizers=("MBart",),
        model_types=("mbart",),
        start=code_alone,
        settings=_LIKE_BART,
        lora_targets=("q_proj", "v_proj"),
        published=PublishedShape(layers=12, heads=16, hidden=1024, feed_forward=4096),
        wants_language=True,
        small={"max_position_embeddings": 512, "scale_embedding": True, "tie_word_embeddings": True},
    )
)
_MBART50 = register(
    replace(_MBART, name="mbart50", title="MBart-50", tokenizers=("MBart50",), start=code_after_eos, small=None)
)
_M2M100 = register(
    replace(
        _MBART50,
        name="m2m100",
        title="M2M100",
        tokenizers=("M2M100",),
        model_types=("m2m_100",),
        endless=True,
        vocabulary_file="vocab.json",
    )
)
register(
    replace(
        _M2M100,
        name="nllb",
        title="NLLB",
        tokenizers=("Nllb",),
        model_types=("m2m_100", "nllb-moe"),
        vocabulary_file="tokenizer.json",
    )
)
register(
    replace(
        _MBART50,
        name="bart",
        title="BART",
        tokenizers=("Bart", "Barthez", "Bartpho", "Roberta"),
        model_types=("bart",),
        start=start_of_config_and_bos,
        wants_language=False,
    )
)
_T5 = register(
    Family(
        name="t5",
        title="T5",
        tokenizers=("T5",),
        model_types=("t5",),
        start=start_of_config,
        settings=_LIKE_T5,
        lora_targets=("q", "v"),
        published=PublishedShape(layers=12, heads=12, hidden=768, feed_forward=3072),
        endless=True,
        has_own_output_layer=lambda config: not config.scale_decoder_outputs,  # T5 1.1
    )
)
register(
    replace(
        _T5,
        name="mt5",
        title="mT5",
        model_types=("mt5",),
        published=PublishedShape(layers=12, heads=12, hidden=768, feed_forward=2048),
        has_own_output_layer=lambda config: True,
        small={"feed_forward_proj": "gated-gelu"},
    )
)
register(
    replace(
        _T5,
        name="umt5",
        title="UMT5",
        model_types=("umt5",),
        published=PublishedShape(layers=12, heads=12, hidden=768, feed_forward=2048),
        has_own_output_layer=lambda config: False,
    )
)


def family_of_tokenizer(inner: Any) -> Family | None:
    """Returns the family of a tokenizer by its class; None if it has no row."""
    kind = type(inner).__name__.removesuffix("Fast").removesuffix("Tokenizer")
    return next((family for family in FAMILIES.values() if kind in family.tokenizers), None)


def family_of_config(config: Any) -> Family | None:
    """Returns the family of a model by its config; None if it has no row."""
    kind = getattr(config, "model_type", None)
    return next((family for family in FAMILIES.values() if kind in family.model_types), None)


def small_family(name: str) -> Family | None:
    """Returns the family of a small LLM made here; None if `name`, a value of llm.name, is not one."""
    family = FAMILIES.get(name.removeprefix(SMALL)) if name.startswith(SMALL) else None
    return family if family is not None and family.small is not None else None


def is_made_here(name: str) -> bool:
    """Returns whether `name`, a value of llm.name, is a model made here, with a tokenizer trained here: a small LLM, or
    a Light-T."""
    return name == LIGHT_T or small_family(name) is not None


def small_names() -> list[str]:
    """Returns the values of llm.name that name a small LLM made here."""
    return [SMALL + family.name for family in FAMILIES.values() if family.small is not None]


def small_positions(name: str) -> int | None:
    """Returns the number of positions of a small LLM; None if unlimited, or if `name` is not a small LLM."""
    family = small_family(name)
    return None if family is None or family.small is None else family.small.get("max_position_embeddings")


def likely_family(name: str) -> Family:
    """Returns the likely family of an LLM, for estimates: see `_likely_family`, else MBart."""
    return _likely_family(name) or _MBART


def title_of(name: str) -> str:
    """Returns the name of an LLM's family for tables, such as MBart; of an LLM without a row its own name."""
    family = _likely_family(name)
    return Path(name).stem if family is None else family.title


def _likely_family(name: str) -> Family | None:
    """Returns the likely family of an LLM: by its config if available locally, else by the longest family name that
    its own name contains."""
    config = local_config(name)
    found = small_family(name) or family_of_config(config)
    guesses = [family for family in FAMILIES.values() if family.name in name.lower()] if config is None else []
    return found or max(guesses, key=lambda family: len(family.name), default=None)


def start_tokens(inner: Any, name: str, language: str | None) -> tuple[int, ...]:
    """Returns the decoder prefix. `inner` is a tokenizer of transformers, `name` its model's folder or hub name.

    Raises InputError if the family needs a language code and it is missing or unknown, or if the model is neither an
    encoder-decoder nor decoder-only."""
    if continues_text(inner, name):
        return start_of_text(inner, name, language)
    family = family_of_tokenizer(inner)
    start = start_of_config if family is None else family.start
    return start(inner, name, language)


def continues_text(inner: Any, name: str) -> bool:
    """Returns whether a tokenizer of transformers is that of a decoder-only LLM; `name` is the model's."""
    config = local_config(name)
    if config is None and family_of_tokenizer(inner) is None and not Path(name).is_dir():
        config = config_of(name)  # on the hub, not yet downloaded
    return config is not None and is_decoder_only(name, config)


def is_decoder_only(name: str, config: Any) -> bool:
    """Returns whether a config is that of a decoder-only LLM rather than of an encoder-decoder. Raises InputError,
    listing the families, if it is of neither, such as a bidirectional encoder or a vision model."""
    from transformers.models.auto import modeling_auto as auto

    kind = config.model_type
    if kind in auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES:
        return False
    encoder = kind in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES and not getattr(config, "is_decoder", False)
    if kind not in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES or encoder or config.is_encoder_decoder:
        raise InputError(
            f"llm.name {name}: its config.json says model_type {kind}, which is neither an encoder-decoder nor a "
            f"decoder-only LLM. Use a model of {titles()}, another encoder-decoder of transformers, or a decoder-only "
            "LLM such as Gemma, Llama, Qwen or GPT-2."
        )
    return True


def titles() -> str:
    """Returns the names of all families, for messages."""
    return ", ".join(family.title for family in FAMILIES.values())
