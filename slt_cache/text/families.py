"""How a target begins: the language code and the start tokens of each family of encoder-decoders.

| family | decoder reads | and predicts |
|---|---|---|
| MBart | `code tokens` | `tokens </s>` |
| MBart-50, NLLB, M2M100 | `</s> code tokens` | `tokens </s>` |
| BART | `</s> <s> tokens` | `tokens </s>` |
| T5, mT5 and others | `start tokens` | `tokens </s>` |

A model is trained and decoded with the same start; the loss leaves out what the start already says."""

import difflib
from collections.abc import Iterable
from typing import Any

from slt_cache.errors import InputError

AFTER_EOS = ("MBart50", "Nllb", "M2M100")
"""Families of tokenizers whose language code stands behind the decoder's start token, which is </s>."""
CODE_ALONE = ("MBart",)
SHOWN = 30
"""Codes in an error."""


def start_tokens(inner: Any, name: str, language: str | None) -> tuple[int, ...]:
    """Ids that decoding begins with. `inner` is a tokenizer of transformers, `name` its model's folder or hub name.

    Raises InputError where the family wants a language code and none, or an unknown one, is given."""
    family = type(inner).__name__
    if family.startswith(AFTER_EOS):
        return (inner.eos_token_id, language_code(inner, language))
    if family.startswith(CODE_ALONE):
        return (language_code(inner, language),)
    if language is not None and language.strip("_") in _codes(inner):
        raise InputError(
            f"llm.name {name}: its tokenizer has the language code {language}, but loads as {family}, which does not "
            "tell where the code stands. Name its own class in its tokenizer_config.json, such as "
            '"tokenizer_class": "NllbTokenizer".'
        )
    return _start_of_model(inner, name)


def language_code(inner: Any, language: str | None) -> int:
    """Id of a language code; for M2M100 `de` stands for `__de__`. Raises InputError for an unknown one."""
    known = _codes(inner)
    if language is None or language.strip("_") not in known:
        wrong = "not set" if language is None else f"the tokenizer has no code {language!r}"
        codes = _listed(known, language)
        raise InputError(f"llm.language: {wrong}. Set it, --set llm.language=CODE, to one of {codes}.")
    code: int = inner.convert_tokens_to_ids(known[language.strip("_")])
    return code


def _codes(inner: Any) -> dict[str, str]:
    """Language code -> its token."""
    return {token.strip("_"): token for token in _added_tokens(inner) if _is_code(token)}


def _listed(known: Iterable[str], language: str | None) -> str:
    """Codes to choose from, those of a similar spelling first; NLLB has two hundred."""
    near = difflib.get_close_matches(language or "", known, n=10, cutoff=0.4)
    codes = [*near, *sorted(set(known) - set(near))]
    more = f" and {len(codes) - SHOWN} more" if len(codes) > SHOWN else ""
    return ", ".join(codes[:SHOWN]) + more


def _added_tokens(inner: Any) -> set[str]:
    codes = [str(token) for token in inner.added_tokens_encoder]
    return {*codes, *getattr(inner, "lang_token_to_id", {})}


def _is_code(token: str) -> bool:
    """de_DE, deu_Latn, __de__; not <s>, <mask>, <extra_id_0> or madeupword0000."""
    return "_" in token and "<" not in token and not token.startswith("madeup")


def _start_of_model(inner: Any, name: str) -> tuple[int, ...]:
    """What the model's own config says; BART's target begins with <s> besides."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(name, trust_remote_code=False)
    start = config.decoder_start_token_id
    if start is None:
        raise InputError(f"llm.name {name}: its config.json names no decoder_start_token_id. Write it in.")
    if type(inner).__name__.startswith(("Bart", "Roberta")) and inner.bos_token_id != start:
        return (start, inner.bos_token_id)
    return (start,)
