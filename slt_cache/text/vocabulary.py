"""Which pieces of a vocabulary a text needs: unigram and BPE alike. Knows no models and writes nothing.

Works on the description that the tokenizers library writes as tokenizer.json ("blueprint" here)."""

import base64
import json
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from slt_cache.text.charsmap import Charsmap

TokenizerJson = dict[str, Any]
SPACE = "▁"


def base_vocabulary(blueprint: TokenizerJson) -> dict[str, int]:
    """Ids of the model's own pieces, in their order; added tokens that stand outside of it are left out."""
    vocab = blueprint["model"]["vocab"]
    if isinstance(vocab, dict):
        return dict(sorted(vocab.items(), key=lambda item: item[1]))
    return {piece: index for index, (piece, _) in enumerate(vocab)}


def build(blueprint: TokenizerJson) -> Any:
    """The tokenizer of the tokenizers library that the blueprint describes."""
    from tokenizers import Tokenizer

    return Tokenizer.from_str(json.dumps(blueprint))


def needed_pieces(blueprint: TokenizerJson, sentences: Sequence[str], keep_characters: bool) -> set[str]:
    """The least that cuts the sentences as all pieces do, with characters of their scripts on demand."""
    backend = build(blueprint)
    base = base_vocabulary(blueprint)
    needed = {SPACE} & base.keys()
    if blueprint["model"]["type"] == "BPE":
        needed |= _merged_pieces(blueprint, backend, sentences)
        if SPACE not in base:  # bytes stand for themselves: with all of them nothing is ever unknown
            needed |= {piece for piece in base if len(piece) == 1}
    else:
        for encoding in backend.encode_batch(sentences, add_special_tokens=False):
            needed.update(backend.id_to_token(piece) for piece in encoding.ids)
        # What an unknown character costs hangs on the lowest score; with another one a sentence is cut otherwise.
        needed.add(min(blueprint["model"]["vocab"], key=lambda piece: piece[1])[0])
    if keep_characters:
        scripts = {_script(character) for character in set("".join(sentences))}
        needed |= {piece for piece in base if len(piece) == 1 and _script(piece) in scripts}
    return needed


def _script(character: str) -> str:
    """The first word of its Unicode name: LATIN, CJK, CYRILLIC; FULLWIDTH, DIGIT and the like for what is no letter.
    What ASCII has beside letters belongs to every script and counts as one."""
    if character.isascii() and not character.isalpha():
        return "ASCII"
    return unicodedata.name(character, "").partition(" ")[0]


def _merged_pieces(blueprint: TokenizerJson, backend: Any, sentences: Sequence[str]) -> set[str]:
    """Every piece that stands at some step of BPE's way from the characters of the sentences to their pieces.

    A vocabulary with these pieces and the merges between them goes the same way: at each step the merge of lowest
    rank is still there, and none was added."""
    ranks = {tuple(merge): rank for rank, merge in enumerate(blueprint["model"]["merges"])}
    words: set[str] = set()
    for sentence in sentences:
        text = sentence if backend.normalizer is None else backend.normalizer.normalize_str(sentence)
        words.update(word for word, _ in backend.pre_tokenizer.pre_tokenize_str(text))
    base = base_vocabulary(blueprint)
    seen: set[str] = set()
    for word in words:
        pieces = list(word)
        seen.update(pieces)
        while True:
            pairs = [(ranks[pair], at) for at, pair in enumerate(pairwise(pieces)) if pair in ranks]
            if not pairs:
                break
            _, at = min(pairs)
            pieces[at : at + 2] = [pieces[at] + pieces[at + 1]]
            seen.add(pieces[at])
    return seen & base.keys()


def lost_characters(blueprint: TokenizerJson, sentences: Iterable[str]) -> list[str]:
    """Characters that do not come back: unknown ones, and ones that normalization makes into others. In the order of
    Unicode."""
    backend = build(blueprint)
    lost: set[str] = set()
    unknown = unknown_token(blueprint)
    for sentence, encoding in zip(sentences, backend.encode_batch(sentences, add_special_tokens=False), strict=True):
        if backend.decode(encoding.ids).strip() == sentence:
            continue
        for piece, (begin, end) in zip(encoding.ids, encoding.offsets, strict=True):
            if unknown is not None and backend.id_to_token(piece) == unknown:
                lost.update(sentence[begin:end])
        if backend.normalizer is not None:
            lost.update(char for char in set(sentence) if backend.normalizer.normalize_str(char) != char)
    return sorted(lost - {" "})


def unknown_token(blueprint: TokenizerJson) -> str | None:
    model = blueprint["model"]
    if model["type"] == "BPE":
        return model["unk_token"]
    return None if model["unk_id"] is None else model["vocab"][model["unk_id"]][0]


def with_characters(blueprint: TokenizerJson, characters: Sequence[str]) -> TokenizerJson:
    """A blueprint that has each of the characters as a piece of its own, where nothing makes it into another first.

    No other text is cut otherwise: a character that was unknown or normalized away is in no piece."""
    if not characters:
        return blueprint
    blueprint = {**blueprint, "normalizer": _keeping(blueprint["normalizer"], characters)}
    model = blueprint["model"]
    base = base_vocabulary(blueprint)
    new = [character for character in characters if character not in base]
    after = len(base)
    vocab: dict[str, int] | list[Any]
    if model["type"] == "BPE":
        vocab = {**base, **{piece: after + index for index, piece in enumerate(new)}}
    else:
        # Not lower than the lowest, which the cost of unknown characters hangs on.
        lowest = min(score for _, score in model["vocab"])
        vocab = [*model["vocab"], *([piece, lowest] for piece in new)]
    outside = [
        {**token, "id": token["id"] + len(new)} if token["content"] not in base else token
        for token in blueprint["added_tokens"]
    ]
    return {**blueprint, "model": {**model, "vocab": vocab}, "added_tokens": outside}


def _keeping(normalizer: Any, characters: Sequence[str]) -> Any:
    """The normalizer with its table told to leave the characters alone."""
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


def only(blueprint: TokenizerJson, kept: set[str]) -> TokenizerJson:
    """The blueprint with the kept pieces alone, in their order; ids are counted anew."""
    model = blueprint["model"]
    base = [piece for piece in base_vocabulary(blueprint) if piece in kept]
    outside = [token["content"] for token in blueprint["added_tokens"] if token["content"] not in set(base)]
    ids = {piece: index for index, piece in enumerate([*base, *outside])}
    if model["type"] == "BPE":
        merges = [merge for merge in model["merges"] if {*merge, "".join(merge)} <= kept]
        model = {**model, "vocab": {piece: ids[piece] for piece in base}, "merges": merges}
    else:
        unknown = unknown_token(blueprint)
        vocab = [piece for piece in model["vocab"] if piece[0] in kept]
        model = {**model, "vocab": vocab, "unk_id": None if unknown is None else ids[unknown]}
    return {
        **blueprint,
        "model": model,
        "added_tokens": [{**token, "id": ids[token["content"]]} for token in blueprint["added_tokens"]],
        "post_processor": _renumbered(blueprint["post_processor"], ids),
    }


def _renumbered(processor: Any, ids: dict[str, int]) -> Any:
    """The frame's tokens with their new ids: `{"ids": [...], "tokens": [...]}` or `["</s>", 2]`."""
    if isinstance(processor, dict):
        changed = {key: _renumbered(value, ids) for key, value in processor.items()}
        return {**changed, "ids": [ids[token] for token in processor["tokens"]]} if "tokens" in processor else changed
    if isinstance(processor, list):
        if len(processor) == 2 and isinstance(processor[0], str) and isinstance(processor[1], int):
            return [processor[0], ids[processor[0]]]
        return [_renumbered(part, ids) for part in processor]
    return processor


def equivalents(blueprint: TokenizerJson, characters: Iterable[str]) -> Iterator[list[int]]:
    """For each character the ids of the pieces that stood for it, or for its NFKC form; none where there are none."""
    backend = build(blueprint)
    base = base_vocabulary(blueprint)
    unknown = unknown_token(blueprint)
    for character in characters:
        form = unicodedata.normalize("NFKC", character)
        if backend.normalizer is not None:
            form = backend.normalizer.normalize_str(character)
        if form in base:
            yield [base[form]]
        else:
            ids = backend.encode(form, add_special_tokens=False).ids
            yield [piece for piece in ids if backend.id_to_token(piece) not in (unknown, SPACE)]
