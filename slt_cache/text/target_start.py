"""Decoder prefix of an encoder-decoder: the tokens that the decoder is given, including the language code.

Training and decoding use the same prefix, which the loss leaves out. Knows tokenizers of transformers but no families,
which choose one of the functions here (text/families.py)."""

import difflib
from collections.abc import Iterable
from typing import Any

from slt_cache.errors import InputError

SHOWN = 30
"""Largest number of language codes listed in an error."""


def code_alone(inner: Any, name: str, language: str | None) -> tuple[int, ...]:
    """Returns the id of the language code. Raises InputError if it is missing or unknown."""
    return (language_code(inner, language),)


def code_after_eos(inner: Any, name: str, language: str | None) -> tuple[int, ...]:
    """Returns the ids of </s>, the decoder's start token, and of the language code. Raises InputError if the code is
    missing or unknown."""
    return (inner.eos_token_id, language_code(inner, language))


def start_of_config(inner: Any, name: str, language: str | None) -> tuple[int, ...]:
    """Returns the start token that the model's config.json names. Raises InputError if there is none, or if the
    tokenizer knows the language code but its class does not say where it belongs."""
    if language is not None and language.strip("_") in _codes(inner):
        raise InputError(
            f"llm.name {name}: its tokenizer has the language code {language}, but loads as {type(inner).__name__}, "
            "which does not say where the code belongs. Set the right class in its tokenizer_config.json, such as "
            '"tokenizer_class": "NllbTokenizer".'
        )
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(name, trust_remote_code=False)
    start = getattr(config, "decoder_start_token_id", None)
    if start is None:
        raise InputError(f"llm.name {name}: its config.json names no decoder_start_token_id. Add it there.")
    return (start,)


def start_of_config_and_bos(inner: Any, name: str, language: str | None) -> tuple[int, ...]:
    """Returns the start token that the model's config.json names, followed by <s> unless they are the same."""
    start = start_of_config(inner, name, language)
    return start if start == (inner.bos_token_id,) else (*start, inner.bos_token_id)


def start_of_text(inner: Any, name: str, language: str | None) -> tuple[int, ...]:
    """Returns the beginning token of a decoder-only LLM, or its end token if it has none."""
    return (inner.eos_token_id if inner.bos_token_id is None else inner.bos_token_id,)


def language_code(inner: Any, language: str | None) -> int:
    """Returns the id of a language code; for M2M100 `de` stands for `__de__`. Raises InputError for an unknown one."""
    known = _codes(inner)
    if language is None or language.strip("_") not in known:
        wrong = "not set" if language is None else f"the tokenizer has no code {language!r}"
        codes = _listed(known, language)
        raise InputError(f"llm.language: {wrong}. Set it, --set llm.language=CODE, to one of {codes}.")
    code: int = inner.convert_tokens_to_ids(known[language.strip("_")])
    return code


def _codes(inner: Any) -> dict[str, str]:
    """Returns the mapping from language codes to their tokens."""
    return {token.strip("_"): token for token in _added_tokens(inner) if is_language_code(token)}


def _listed(known: Iterable[str], language: str | None) -> str:
    """Lists the available codes, those of similar spelling first; NLLB has two hundred."""
    near = difflib.get_close_matches(language or "", known, n=10, cutoff=0.4)
    codes = [*near, *sorted(set(known) - set(near))]
    more = f" and {len(codes) - SHOWN} more" if len(codes) > SHOWN else ""
    return ", ".join(codes[:SHOWN]) + more


def _added_tokens(inner: Any) -> set[str]:
    codes = [str(token) for token in inner.added_tokens_encoder]
    return {*codes, *getattr(inner, "lang_token_to_id", {})}


def is_language_code(token: str) -> bool:
    """Returns whether a token is a language code such as de_DE, deu_Latn or __de__, unlike <s>, <mask>, <extra_id_0> or
    madeupword0000."""
    return "_" in token and "<" not in token and not token.startswith("madeup")
