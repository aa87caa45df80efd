"""Selection of the tokens that a text needs, for unigram and BPE vocabularies. Works on parsed tokenizer.json files;
knows no models and writes nothing."""

import base64
import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from slt_cache.text.charsmap import Charsmap

TokenizerJson = dict[str, Any]
SPACE = "▁"


def base_vocabulary(parsed: TokenizerJson) -> dict[str, int]:
    """Returns the ids of the model's own tokens, in their order, without added tokens."""
    vocab = parsed["model"]["vocab"]
    if isinstance(vocab, dict):
        return dict(sorted(vocab.items(), key=lambda item: item[1]))
    return {token: index for index, (token, _) in enumerate(vocab)}


def build(parsed: TokenizerJson) -> Any:
    """Builds the `tokenizers` object that a tokenizer.json describes, without truncation and padding."""
    from tokenizers import Tokenizer

    return Tokenizer.from_str(json.dumps({**parsed, "truncation": None, "padding": None}))


def needed_tokens(parsed: TokenizerJson, backend: Any, texts: Sequence[str], keep_characters: bool) -> set[str]:
    """Returns the smallest set of tokens that tokenizes the texts as the full vocabulary does, plus the characters of
    their scripts if asked. `backend` is what `build` returns for `parsed`."""
    model, base = parsed["model"], base_vocabulary(parsed)
    used = {token for one in backend.encode_batch(texts, add_special_tokens=False) for token in one.ids}
    needed = {*map(backend.id_to_token, used), *({SPACE} & base.keys()), *_bytes(parsed)}
    if model["type"] == "BPE":
        ranks = {tuple(merge): rank for rank, merge in enumerate(model["merges"])}
        needed |= {part for token in needed for part in _parts(token, ranks, model["end_of_word_suffix"] or "")}
    else:
        # The lowest score decides what an unknown character costs, and so how a sentence is tokenized.
        needed.add(min(model["vocab"], key=lambda token: token[1])[0])
    if keep_characters:
        scripts = {_script(character) for character in set("".join(texts))}
        needed |= {token for token in base if len(token) == 1 and _script(token) in scripts}
    return needed


def _bytes(parsed: TokenizerJson) -> set[str]:
    """Returns the tokens for single bytes, if there are any: with all of them kept, nothing is ever unknown."""
    from tokenizers.pre_tokenizers import ByteLevel

    alphabet: set[str] = set()
    if '"ByteLevel"' in json.dumps(parsed["decoder"]):
        alphabet.update(ByteLevel.alphabet())
    if parsed["model"].get("byte_fallback"):
        alphabet.update(f"<0x{byte:02X}>" for byte in range(256))
    return alphabet & base_vocabulary(parsed).keys()


def _parts(token: str, ranks: Mapping[tuple[str, ...], int], word_end: str) -> set[str]:
    """Returns every token that BPE creates while merging the characters of a token into it; none if merges do not lead
    there, as for an added token.

    The text around a token does not matter, as no merge crosses its ends. So a vocabulary of the parts of all tokens of
    a text, with the merges between them, merges in the same order: at each step the merge of lowest rank is still
    available, and none was added."""
    parts = list(token.removesuffix(word_end))
    if token.endswith(word_end) and parts:
        parts[-1] += word_end
    seen = set(parts)
    while ranked := [(ranks[pair], at) for at, pair in enumerate(pairwise(parts)) if pair in ranks]:
        _, at = min(ranked)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
        seen.add(parts[at])
    return seen if parts == [token] else set()


def _script(character: str) -> str:
    """Returns the first word of a character's Unicode name: LATIN, CJK, CYRILLIC, or FULLWIDTH, DIGIT and the like.
    ASCII other than letters belongs to every script and counts as one."""
    if character.isascii() and not character.isalpha():
        return "ASCII"
    return unicodedata.name(character, "").partition(" ")[0]


def lost_characters(parsed: TokenizerJson, backend: Any, sentences: Sequence[str]) -> list[str]:
    """Returns the characters that are lost in encoding and decoding, unknown or changed by normalization, in Unicode
    order."""
    lost: set[str] = set()
    unknown = unknown_token(parsed)
    for sentence, encoding in zip(sentences, backend.encode_batch(sentences, add_special_tokens=False), strict=True):
        if backend.decode(encoding.ids).strip() == sentence:
            continue
        for token, (begin, end) in zip(encoding.ids, encoding.offsets, strict=True):
            if unknown is not None and backend.id_to_token(token) == unknown:
                lost.update(sentence[begin:end])
        lost.update(char for char in set(sentence) if _normalized(backend, char) != char)
    return sorted(lost - {" "})


def _normalized(backend: Any, character: str) -> str:
    """Returns a character after normalization, without the space that this may put before a text."""
    return character if backend.normalizer is None else backend.normalizer.normalize_str(character).removeprefix(SPACE)


def unknown_token(parsed: TokenizerJson) -> str | None:
    model = parsed["model"]
    token: str | None
    if model["type"] == "BPE":
        token = model["unk_token"]
    else:
        token = None if model["unk_id"] is None else model["vocab"][model["unk_id"]][0]
    return token


def with_characters(parsed: TokenizerJson, characters: Sequence[str]) -> TokenizerJson:
    """Returns a tokenizer.json in which each of the characters is a token and survives normalization.

    No other text is tokenized differently: no token contains a character that was unknown or normalized away."""
    if not characters:
        return parsed
    parsed = {**parsed, "normalizer": _keeping(parsed["normalizer"], characters)}
    model = parsed["model"]
    base = base_vocabulary(parsed)
    new = [character for character in characters if character not in base]
    after = len(base)
    vocab: dict[str, int] | list[Any]
    if model["type"] == "BPE":
        vocab = {**base, **{token: after + index for index, token in enumerate(new)}}
    else:
        # No lower than the lowest score, which sets the cost of unknown characters.
        lowest = min(score for _, score in model["vocab"])
        vocab = [*model["vocab"], *([token, lowest] for token in new)]
    outside = [
        {**token, "id": token["id"] + len(new)} if token["content"] not in base else token
        for token in parsed["added_tokens"]
    ]
    return {**parsed, "model": {**model, "vocab": vocab}, "added_tokens": outside}


def _keeping(normalizer: Any, characters: Sequence[str]) -> Any:
    """Returns the normalizer with its table edited to leave the characters unchanged."""
    if normalizer is None:
        return None
    if normalizer["type"] == "Sequence":
        return {**normalizer, "normalizers": [_keeping(part, characters) for part in normalizer["normalizers"]]}
    if normalizer["type"] != "Precompiled":
        return normalizer
    table = Charsmap(base64.b64decode(normalizer["precompiled_charsmap"]))
    for character in characters:
        table.keep(character)
    return {**normalizer, "precompiled_charsmap": base64.b64encode(table.to_bytes()).decode()}


def only(parsed: TokenizerJson, kept: set[str]) -> TokenizerJson:
    """Returns the tokenizer.json with only the kept tokens, in their order, renumbered."""
    model, padding = parsed["model"], parsed["padding"]
    base = [token for token in base_vocabulary(parsed) if token in kept]
    added = [token for token in parsed["added_tokens"] if token["content"] in kept]
    outside = [token["content"] for token in added if token["content"] not in set(base)]
    ids = {token: index for index, token in enumerate([*base, *outside])}
    if model["type"] == "BPE":
        merges = [merge for merge in model["merges"] if {*merge, "".join(merge)} <= kept]
        model = {**model, "vocab": {token: ids[token] for token in base}, "merges": merges}
    else:
        unknown = unknown_token(parsed)
        vocab = [token for token in model["vocab"] if token[0] in kept]
        model = {**model, "vocab": vocab, "unk_id": None if unknown is None else ids[unknown]}
    return {
        **parsed,
        "model": model,
        "added_tokens": [{**token, "id": ids[token["content"]]} for token in added],
        "post_processor": _renumbered(parsed["post_processor"], ids),
        "padding": padding and {**padding, "pad_id": ids[padding["pad_token"]]},
    }


def _renumbered(processor: Any, ids: dict[str, int]) -> Any:
    """Returns a post-processor with its tokens renumbered: `{"ids": [...], "tokens": [...]}` or `["</s>", 2]`."""
    if isinstance(processor, dict):
        changed = {key: _renumbered(value, ids) for key, value in processor.items()}
        return {**changed, "ids": [ids[token] for token in processor["tokens"]]} if "tokens" in processor else changed
    if isinstance(processor, list):
        if len(processor) == 2 and isinstance(processor[0], str) and isinstance(processor[1], int):
            return [processor[0], ids[processor[0]]]
        return [_renumbered(part, ids) for part in processor]
    return processor


def equivalents(parsed: TokenizerJson, backend: Any, characters: Iterable[str]) -> Iterator[list[int]]:
    """Yields for each character the ids of the tokens that represented it or its NFKC form, if any."""
    base = base_vocabulary(parsed)
    unknown = unknown_token(parsed)
    for character in characters:
        form = unicodedata.normalize("NFKC", character)
        if backend.normalizer is not None:
            form = backend.normalizer.normalize_str(character)
        if form in base:
            yield [base[form]]
        else:
            ids = backend.encode(form, add_special_tokens=False).ids
            yield [token for token in ids if backend.id_to_token(token) not in (unknown, SPACE)]
