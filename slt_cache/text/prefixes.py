"""Decoder prefixes of an LLM that writes several languages, one for each."""

from typing import Any

from slt_cache.corpora.languages import labels_of
from slt_cache.text.families import continues_text, start_tokens
from slt_cache.text.target_start import LanguagePrefix, codes_of


def prefixes_of(inner: Any, name: str, language: str) -> tuple[LanguagePrefix, ...]:
    """Returns the prefix of each language that `language` names (corpora/languages.py), which begins with its code.
    Those of a decoder-only LLM are alike until a prompt tells the languages apart. `inner` is a tokenizer of
    transformers, `name` its model's. Raises InputError for an LLM without the code of one."""
    if continues_text(inner, name):
        return tuple(LanguagePrefix(label, start_tokens(inner, name, None)) for label in labels_of(language))
    codes = codes_of(inner, name, language)
    return tuple(LanguagePrefix(label, start_tokens(inner, name, code)) for label, code in codes.items())
