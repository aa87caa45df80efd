"""Decoder prefix of an encoder-decoder: the tokens that the decoder is given, including the language code.

Training and decoding use the same prefix, which the loss leaves out. Knows tokenizers of transformers but no families,
which choose one of the functions here (text/families.py)."""

import difflib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from slt_cache.corpora.languages import AND, IS, NLLB, codes_named, short_name
from slt_cache.errors import InputError

SHOWN = 30
"""Largest number of language codes listed in an error."""


@dataclass(frozen=True)
class LanguagePrefix:
    """What an LLM that writes several languages reads before a sentence in one of them."""

    language: str
    """Name of the language, as in the column `language` of a manifest."""
    start: tuple[int, ...]
    """Ids that decoding begins with; as many in each language."""
    before: tuple[int, ...] = ()
    """Ids of a decoder-only LLM's prompt before the video (text/prompt.py)."""
    after: tuple[int, ...] = ()
    """Ids of such a prompt after the video, without the last one, which is `start`."""


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
    found = None if language is None else code_among(known, language)
    if found is None:
        wrong = "not set" if language is None else f"the tokenizer has no code {language!r}"
        codes = _listed(known, language)
        raise InputError(f"llm.language: {wrong}. Set it, --set llm.language=CODE, to one of {codes}.")
    code: int = inner.convert_tokens_to_ids(known[found])
    return code


def codes_of(inner: Any, name: str, language: str) -> dict[str, str]:
    """Returns short name -> code of the tokenizer, of several languages (corpora/languages.py). Raises InputError if it
    lacks the code of one."""
    known, codes = _codes(inner), codes_named(language)
    if not known:
        raise InputError(
            f"llm.name {name}: its tokenizer has no language codes, so it cannot be told which of {', '.join(codes)} "
            "to write. Use MBart, MBart-50, NLLB or M2M100, or a decoder-only LLM with {language} in llm.prompt."
        )
    return {label: _code_of(known, codes, label, name) for label in codes}


def _code_of(known: Collection[str], codes: dict[str, str], label: str, name: str) -> str:
    found = code_among(known, codes[label])
    if found is None:
        named = AND.join(f"{one}{IS}CODE" if one == label else one for one in codes)
        raise InputError(
            f"llm.name {name}: its tokenizer has no code for the language {codes[label]!r} of the manifest. Name one, "
            f"--set llm.language={named}, of {_listed(known, codes[label])}."
        )
    return found


def code_among(known: Collection[str], language: str) -> str | None:
    """Returns the one of the `known` codes that is meant by a code or by a short name such as de; None if there is
    none, or if several could be."""
    language = language.strip("_")
    if language in known:
        return language
    if not language.isalpha():
        return None
    if NLLB.get(language) in known:
        return NLLB[language]
    found = [code for code in known if short_name(code) == language]
    return found[0] if len(found) == 1 else None


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
