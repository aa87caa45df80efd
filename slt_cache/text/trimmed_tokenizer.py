"""Trimming of a tokenizer to the tokens that a text needs: an LLM's tokenizer and sentences in, a folder out.

Knows no models; an `IdMap` says what becomes of their embedding rows."""

import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slt_cache.errors import InputError, SltCacheError
from slt_cache.reading import read_json
from slt_cache.text.families import family_of_tokenizer
from slt_cache.text.target_start import is_language_code
from slt_cache.text.tokenizer import as_llm_reads_it, load_inner
from slt_cache.text.vocabulary import (
    TokenizerJson,
    base_vocabulary,
    build,
    equivalents,
    lost_characters,
    needed_tokens,
    only,
    unknown_token,
    with_characters,
)

TABLE_FILE = "vocab.json"
STALE_FILES = ("sentencepiece.bpe.model", "spiece.model", "tokenizer.model", TABLE_FILE, "merges.txt")
"""Files with the full vocabulary in another form, which save_pretrained may copy next to tokenizer.json."""
MANY = 4
"""Number of tokens whose names differ only in their numbers from which they are taken for reserved ones, such as
`<unused99>` of Gemma, which has 6,242, and `<|reserved_special_token_7|>` of Llama 3."""


@dataclass(frozen=True)
class IdMap:
    """Mapping from new to old token ids."""

    tokens: tuple[str, ...]
    """Tokens in the order of their new ids."""
    old_ids: tuple[int | None, ...]
    """Old id of each token; None for an added one."""
    like: dict[int, tuple[int, ...]]
    """Old ids of the tokens that represented an added token before, by its new id; empty if there were none."""

    @property
    def added(self) -> tuple[str, ...]:
        return tuple(self.tokens[new] for new in self.like)


def deduplicated(sentences: Iterable[str]) -> list[str]:
    """Returns the distinct non-empty sentences as the LLM reads them, in their order."""
    return list(dict.fromkeys(line for sentence in sentences if (line := as_llm_reads_it(sentence))))


def marked_special(tokenizer: Any) -> set[int]:
    """Returns the ids of the added tokens that a tokenizer marks as special, such as those around the turns of a chat,
    which nothing else may name in a folder without a chat template. Reserved ones (`MANY`) are not among them."""
    added = tokenizer.added_tokens_decoder.items()
    names = {number: re.sub(r"\d+", "", token.content) for number, token in added if token.special}
    alike = Counter(names.values())
    return {number for number, name in names.items() if alike[name] < MANY}


def trim_tokenizer(
    tokenizer: Any,
    sentences: Sequence[str],
    also: Iterable[int],
    keep_characters: bool,
    folder: Path,
    prompts: Sequence[str] = (),
) -> IdMap:
    """Writes a tokenizer with only the tokens that the sentences need, and `prompts`, other texts that the LLM reads;
    `also` are ids to keep in addition.

    Raises InputError for a kind of tokenizer that cannot be trimmed, and SltCacheError if the sentences would be
    tokenized differently than before. Characters that it loses today (unknown, or changed by normalization) are added,
    one token each, and only sentences with these are tokenized differently."""
    texts = [*sentences, *prompts]
    family = family_of_tokenizer(tokenizer)
    if family is not None and family.vocabulary_file == TABLE_FILE:
        return _trim_table(tokenizer, texts, _named(tokenizer, also), keep_characters, folder)
    old = _parsed(tokenizer)
    whole = tokenizer.backend_tokenizer
    whole.no_truncation()  # transformers sets both at each call
    whole.no_padding()
    lost = lost_characters(old, whole, sentences)
    full = with_characters(old, lost)
    backend = build(full) if lost else whole  # of a large vocabulary it takes seconds
    kept = needed_tokens(full, backend, texts, keep_characters) | _named(tokenizer, also, old)
    trimmed = only(full, kept)
    new = list(base_vocabulary(trimmed))
    ids = {**base_vocabulary(old), **{token["content"]: token["id"] for token in old["added_tokens"]}}
    tokens = [*new, *(token["content"] for token in trimmed["added_tokens"] if token["content"] not in set(new))]
    added = [character for character in lost if character not in ids and character in kept]
    likes = zip(added, equivalents(old, whole, added), strict=True)
    id_map = IdMap(
        tuple(tokens),
        tuple(ids.get(token) for token in tokens),
        {tokens.index(one): tuple(old_ids) for one, old_ids in likes},
    )
    tokenizer.save_pretrained(folder)
    for name in STALE_FILES:
        (folder / name).unlink(missing_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(trimmed, ensure_ascii=False), encoding="utf-8")
    _renumber_files(folder, id_map)
    # transformers' classes rebuild the backend when they load it: save what they will load again.
    load_inner(str(folder)).save_pretrained(folder)
    _require_tokenized_as(backend, load_inner(str(folder)), texts)
    return id_map


def _require_tokenized_as(backend: Any, new: Any, sentences: Sequence[str]) -> None:
    """Raises SltCacheError unless the trimmed tokenizer tokenizes like the full one with the added characters."""
    encodings = backend.encode_batch(sentences, add_special_tokens=False)
    for sentence, encoding, ids in zip(sentences, encodings, tokenized(new, sentences), strict=True):
        if [backend.id_to_token(token) for token in encoding.ids] != new.convert_ids_to_tokens(ids):
            raise SltCacheError(_unsafe(new, f"{sentence!r} is tokenized differently than with the full vocabulary"))


def require_same_tokens(tokenizer: Any, folder: Path, id_map: IdMap, sentences: Sequence[str]) -> dict[str, str]:
    """Compares the folder's tokenizer, loaded from disk, with the full one; returns the sentences that do not survive
    encoding and decoding, with what they become.

    Raises SltCacheError if a token has a wrong id, or if a sentence that survived before is now tokenized
    differently."""
    new = load_inner(str(folder))
    numbered = new.convert_tokens_to_ids(list(id_map.tokens))
    if numbered != list(range(len(id_map.tokens))) or max(new.get_vocab().values()) >= len(id_map.tokens):
        raise SltCacheError(_unsafe(tokenizer, "tokens have other ids after loading"))
    changed: dict[str, str] = {}
    for sentence, was, ids in zip(sentences, tokenized(tokenizer, sentences), tokenized(new, sentences), strict=True):
        if (back := decoded(new, ids)) != sentence:
            changed[sentence] = back
        lossless = decoded(tokenizer, was) == sentence
        same = tokenizer.convert_ids_to_tokens(was) == new.convert_ids_to_tokens(ids)
        if not same and (lossless or not id_map.added):
            raise SltCacheError(_unsafe(tokenizer, f"{sentence!r} is tokenized differently than before"))
    wrappers = [one.convert_ids_to_tokens(one("")["input_ids"]) for one in (tokenizer, new)]
    if wrappers[0] != wrappers[1]:
        raise SltCacheError(_unsafe(tokenizer, f"sentences are wrapped in {wrappers[1]} instead of {wrappers[0]}"))
    return changed


def tokenized(tokenizer: Any, sentences: Sequence[str]) -> list[list[int]]:
    """Returns the token ids of each sentence, without start or end."""
    return tokenizer(list(sentences), add_special_tokens=False)["input_ids"] if sentences else []


def decoded(tokenizer: Any, ids: Sequence[int]) -> str:
    text: str = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return text.strip()


def _parsed(tokenizer: Any) -> TokenizerJson:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    parsed = {} if backend is None else json.loads(backend.to_str())
    kind = parsed.get("model", {}).get("type")
    if kind not in ("Unigram", "BPE") or parsed["model"].get("continuing_subword_prefix"):
        raise InputError(
            f"{tokenizer.name_or_path}: a {type(tokenizer).__name__} ({kind or 'custom'}) cannot be trimmed; "
            "unigram and BPE vocabularies can. Use the model as it is."
        )
    return parsed


def _named(tokenizer: Any, also: Iterable[int], parsed: TokenizerJson | None = None) -> set[str]:
    """Returns the tokens that are kept whatever the text is: those of the ids `also`, special tokens, language codes,
    whether or not the tokenizer's folder marks these as special, and added tokens that the chat template names or that
    frame a sentence. Other added tokens, such as Gemma's thousands of reserved ones, are not among them."""
    codes = getattr(sys.modules[type(tokenizer).__module__], "FAIRSEQ_LANGUAGE_CODES", [])
    known = tokenizer.get_vocab()
    named = {code for code in codes if code in known} if isinstance(codes, list) else set()
    added = [token.content for token in tokenizer.added_tokens_decoder.values()]
    frame = json.dumps({} if parsed is None else parsed["post_processor"])
    templates = str(tokenizer.chat_template)
    named |= {
        token
        for token in added
        if token.strip() and (token in templates or json.dumps(token) in frame or is_language_code(token))
    }
    asked = tokenizer.convert_ids_to_tokens(sorted(set(also)))
    unknown = None if parsed is None else unknown_token(parsed)
    return {*tokenizer.all_special_tokens, *named, *(token for token in [*asked, unknown] if token)}


def _trim_table(tokenizer: Any, texts: Sequence[str], named: set[str], keep_characters: bool, folder: Path) -> IdMap:
    """Shortens the token table of M2M100. sentencepiece segments independently of vocab.json, so any text is tokenized
    as before, and a removed token becomes an unknown one."""
    vocab = dict(sorted(tokenizer.encoder.items(), key=lambda item: item[1]))
    used = {token for ids in tokenized(tokenizer, texts) for token in tokenizer.convert_ids_to_tokens(ids)}
    kept = used | named | ({"▁"} & vocab.keys())
    if keep_characters:
        letters = set("".join(used))
        kept |= {token for token in vocab if len(token) == 1 and token in letters}
    codes = list(tokenizer.lang_token_to_id)
    tokens = [*(token for token in vocab if token in kept), *codes]
    id_map = IdMap(
        tuple(tokens), tuple(vocab.get(token, tokenizer.lang_token_to_id.get(token)) for token in tokens), {}
    )
    tokenizer.save_pretrained(folder)
    short = {token: index for index, token in enumerate(tokens[: -len(codes)])}
    (folder / TABLE_FILE).write_text(json.dumps(short, ensure_ascii=False, indent=2), encoding="utf-8")
    _renumber_files(folder, id_map)
    return id_map


def _renumber_files(folder: Path, id_map: IdMap) -> None:
    """Renumbers the ids that save_pretrained wrote outside the vocabulary."""
    ids = {token: index for index, token in enumerate(id_map.tokens)}
    config = folder / "tokenizer_config.json"
    values = read_json(config)
    if "added_tokens_decoder" in values:
        kept = [token for token in values["added_tokens_decoder"].values() if token["content"] in ids]
        values["added_tokens_decoder"] = {str(ids[token["content"]]): token for token in kept}
        config.write_text(json.dumps(values, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    added = folder / "added_tokens.json"
    if added.is_file():
        own = {token: ids[token] for token in read_json(added) if token in ids}
        added.write_text(json.dumps(own, indent=2), encoding="utf-8")


def _unsafe(tokenizer: Any, what: str) -> str:
    return (
        f"{tokenizer.name_or_path}: its vocabulary cannot be trimmed safely: {what}. Nothing was written. "
        "Use the model as it is."
    )
