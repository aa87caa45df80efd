"""A tokenizer of fewer tokens cuts the text as before, or nothing is written."""

import json
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, MBartTokenizer, PreTrainedTokenizerFast

from slt_cache.errors import InputError, SltCacheError
from slt_cache.pipeline.trim_llm import trim_llm
from slt_cache.text.trimmed_tokenizer import decoded, require_same_tokens, tokenized, trim_tokenizer
from slt_cache.text.vocabulary import needed_tokens
from tests.helpers.small_causal_llms import BYTE_LEVEL, BYTES, CAUSAL_FAMILIES, make_causal_llm
from tests.helpers.small_llms import FAMILIES, SENTENCES, make_small_llm

REAL = Path(__file__).parents[3] / "shared" / "real"
PIECE_MODEL = REAL / "tokenizer" / "gfslt_mbart_trimmed.bpe.model"
REAL_TEXT = REAL / "text" / "phoenix14t.train.de.txt"
needs_real = pytest.mark.skipif(
    not (PIECE_MODEL.is_file() and REAL_TEXT.is_file()), reason="no real pieces and sentences beside the project"
)

every_causal_family = pytest.mark.parametrize("family", CAUSAL_FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
def test_any_part_of_the_text_can_be_trimmed_to(family: str, tmp_path: Path) -> None:
    make_small_llm(family, tmp_path / "whole")
    whole = AutoTokenizer.from_pretrained(tmp_path / "whole")
    for number in range(8):
        sentences = [*SENTENCES[number::5], SENTENCES[number].upper(), f"{number}…① Ω"]
        folder = tmp_path / str(number)
        folder.mkdir()
        id_map = trim_tokenizer(whole, sentences, [], False, folder)
        changed = require_same_tokens(whole, folder, id_map, sentences)  # it raises where one differs
        assert family == "m2m100" or not changed


def test_other_pieces_than_before_are_an_error_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_small_llm("mbart", tmp_path / "whole")
    target = "slt_cache.text.trimmed_tokenizer.needed_tokens"
    monkeypatch.setattr(target, lambda *given: needed_tokens(*given) - {"▁you"})
    with pytest.raises(SltCacheError, match="cannot be trimmed safely"):
        trim_llm(str(tmp_path / "whole"), SENTENCES, {}, tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


@needs_real
def test_real_sentences_come_back_with_real_pieces(tmp_path: Path) -> None:
    sentencepiece = pytest.importorskip("sentencepiece")
    model = sentencepiece.SentencePieceProcessor(model_file=str(PIECE_MODEL))
    make_small_llm("mbart", tmp_path / "whole")
    small = json.loads((tmp_path / "whole" / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    codes = small[small.index(["ar_AR", 0.0]) :]
    pieces = [[model.id_to_piece(index), model.get_score(index)] for index in range(3, len(model))]
    whole = MBartTokenizer(vocab=[tuple(piece) for piece in (*small[:4], *pieces, *codes)])
    sentences = [line for line in REAL_TEXT.read_text(encoding="utf-8").split("\n") if line]
    assert len(sentences) == 7096
    (tmp_path / "out").mkdir()
    id_map = trim_tokenizer(whole, sentences, [], False, tmp_path / "out")
    assert require_same_tokens(whole, tmp_path / "out", id_map, sentences) == {}
    assert id_map.added == ()
    assert len(id_map.tokens) < len(whole)


FRAGMENTS = (*"aZß9 .,!?_▁Ġ", "  ", "   ", "25", "1999", "12.5", "\t", "😀", "👩\u200d🌾", "🏳️", "é", "q\u0301\u0323")
FRAGMENTS += ("א", "ﬁ", "½", "北方", "，", "。", "Wolken", "temperaturen", " the", " sunny-ish", "don't", "<b>")


def odd_sentences(seed: int) -> list[str]:
    random = Random(seed)
    return ["".join(random.choices(FRAGMENTS, k=random.randint(1, 12))) for _ in range(60)] + ["  led by blanks", "x"]


@pytest.fixture(scope="module")
def whole_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    @cache
    def whole(family: str) -> Any:
        folder = tmp_path_factory.mktemp(family)
        make_causal_llm(family, folder)
        return AutoTokenizer.from_pretrained(folder)

    return whole


def trimmed(whole: Any, sentences: Sequence[str], folder: Path, **options: Any) -> Any:
    folder.mkdir()
    id_map = trim_tokenizer(whole, sentences, [], False, folder, **options)
    require_same_tokens(whole, folder, id_map, sentences)
    new = AutoTokenizer.from_pretrained(folder)
    assert new.convert_ids_to_tokens(list(range(len(new)))) == list(id_map.tokens)
    assert whole.convert_tokens_to_ids([one for one in id_map.tokens if one not in id_map.added]) == [
        old for old in id_map.old_ids if old is not None
    ]
    return new


def tokens_of(tokenizer: Any, sentences: Sequence[str]) -> list[list[str]]:
    return [tokenizer.convert_ids_to_tokens(ids) for ids in tokenized(tokenizer, sentences)]


@every_causal_family
def test_odd_sentences_of_a_decoder_only_llm_are_tokenized_as_before(
    family: str, tmp_path: Path, whole_of: Callable[[str], Any]
) -> None:
    whole = whole_of(family)
    for seed in range(4):
        sentences = odd_sentences(seed) if family != "xglm" else SENTENCES[seed:16:4]  # it loses the rest
        new = trimmed(whole, sentences, tmp_path / str(seed))
        assert tokens_of(new, sentences) == tokens_of(whole, sentences)
        assert [decoded(new, ids) for ids in tokenized(new, sentences)] == [
            decoded(whole, ids) for ids in tokenized(whole, sentences)
        ]


@pytest.mark.parametrize("family", [family for family in CAUSAL_FAMILIES if family != "xglm"])
def test_a_text_that_decided_nothing_comes_back_from_bytes(
    family: str, tmp_path: Path, whole_of: Callable[[str], Any]
) -> None:
    whole = whole_of(family)
    new = trimmed(whole, SENTENCES[:3], tmp_path / "out")
    for sentence in odd_sentences(9):
        assert decoded(new, tokenized(new, [sentence])[0]) == decoded(whole, tokenized(whole, [sentence])[0])


@pytest.mark.parametrize("family", [family for family in CAUSAL_FAMILIES if family != "xglm"])
def test_kept_are_the_tokens_of_the_text_and_what_merges_make_them_of(
    family: str, tmp_path: Path, whole_of: Callable[[str], Any]
) -> None:
    whole, sentences = whole_of(family), [*SENTENCES[::3], "temperaturen 25 😀"]
    new = trimmed(whole, sentences, tmp_path / "out")
    model = json.loads(whole.backend_tokenizer.to_str())["model"]
    byte_tokens = set(BYTES if model["byte_fallback"] else BYTE_LEVEL)
    always = {"▁"} & whole.get_vocab().keys() | {*whole.all_special_tokens, *in_chat(whole)}
    made = {token for sentence in sentences for token in merged(whole.backend_tokenizer, model, sentence)}
    assert set(new.get_vocab()) == byte_tokens | always | made
    short = json.loads(new.backend_tokenizer.to_str())["model"]
    kept = [merge for merge in model["merges"] if {*merge, "".join(merge)} <= set(new.get_vocab())]
    assert short["merges"] == kept and len(kept) > 50
    assert short["ignore_merges"] == model["ignore_merges"] == (family == "llama3")


def merged(backend: Any, model: dict[str, Any], sentence: str) -> set[str]:
    """Every token that BPE makes of a sentence, word by word and merge by merge, as its definition says."""
    text = backend.normalizer.normalize_str(sentence) if backend.normalizer else sentence
    words = [word for word, _ in backend.pre_tokenizer.pre_tokenize_str(text)] if backend.pre_tokenizer else [text]
    ranks = {tuple(merge): rank for rank, merge in enumerate(model["merges"])}
    made: set[str] = set()
    for word in words:
        if model["ignore_merges"] and word in model["vocab"]:
            made.add(word)
        parts = list(word)
        seen = set(parts)
        while ranked := [(ranks[pair], at) for at, pair in enumerate(pairwise(parts)) if pair in ranks]:
            at = min(ranked)[1]
            parts[at : at + 2] = ["".join(parts[at : at + 2])]
            seen.add(parts[at])
        if parts == [word] or word not in made:
            made |= seen
    return made & set(model["vocab"])


def in_chat(tokenizer: Any) -> set[str]:
    return {token for token in tokenizer.get_added_vocab() if token.strip() and token in str(tokenizer.chat_template)}


def test_a_word_that_no_merges_lead_to_stays_whole(tmp_path: Path, whole_of: Callable[[str], Any]) -> None:
    new = trimmed(whole_of("llama3"), ["minus temperaturen"], tmp_path / "out")
    assert new.tokenize("minus temperaturen")[-1] == "Ġtemperaturen"


def test_reserved_tokens_go_and_those_of_the_chat_template_stay(tmp_path: Path, whole_of: Callable[[str], Any]) -> None:
    stay = {
        "llama3": {"<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"},
        "qwen2": {"<|im_start|>", "<|im_end|>", "<|endoftext|>"},
        "gemma3_text": {"<bos>", "<pad>", "<start_of_turn>", "<end_of_turn>"},
    }
    for family, named in stay.items():
        new = trimmed(whole_of(family), SENTENCES, tmp_path / family)
        assert named <= new.get_vocab().keys()
        assert not [token for token in new.get_vocab() if "unused" in token or "reserved" in token]
        assert "<|vision_start|>" not in new.get_vocab() and "<tool_call>" not in new.get_vocab()
    text = ["<unused3> and <|reserved_special_token_7|> <tool_call>"]
    assert "<unused3>" in trimmed(whole_of("gemma3_text"), text, tmp_path / "a").get_vocab()
    assert "<|reserved_special_token_7|>" in trimmed(whole_of("llama3"), text, tmp_path / "b").get_vocab()
    assert "<tool_call>" in trimmed(whole_of("qwen2"), text, tmp_path / "c").get_vocab()


@every_causal_family
def test_a_prompt_is_tokenized_as_before_and_framed_as_before(
    family: str, tmp_path: Path, whole_of: Callable[[str], Any]
) -> None:
    whole, prompts = whole_of(family), ["Thank you for watching: ", "\n\n of the sun"]
    if whole.chat_template:
        turn = [{"role": "user", "content": "what are you going to do ? {video}"}]
        prompts += whole.apply_chat_template(turn, tokenize=False, add_generation_prompt=True).split("{video}")
    new = trimmed(whole, ["abc"], tmp_path / "out", prompts=prompts)
    assert tokens_of(new, prompts) == tokens_of(whole, prompts)
    assert new.convert_ids_to_tokens(new("abc")["input_ids"]) == whole.convert_ids_to_tokens(whole("abc")["input_ids"])
    assert new.chat_template == whole.chat_template


def test_a_vocabulary_with_marked_continuations_is_refused(tmp_path: Path) -> None:
    inner = Tokenizer(models.BPE({"a": 0, "##b": 1, "ab": 2}, [("a", "##b")], continuing_subword_prefix="##"))
    with pytest.raises(InputError, match="cannot be trimmed"):
        trim_tokenizer(PreTrainedTokenizerFast(tokenizer_object=inner), ["ab"], [], False, tmp_path)


def test_words_that_end_with_a_mark_are_tokenized_as_before(tmp_path: Path) -> None:
    """As those of the first GPT."""
    inner = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.Whitespace(), decoders.BPEDecoder(suffix="</w>")
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<unk>"], end_of_word_suffix="</w>", show_progress=False
    )
    inner.train_from_iterator(SENTENCES, trainer)
    whole = PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>")
    new = trimmed(whole, SENTENCES[:4], tmp_path / "out")
    assert tokens_of(new, SENTENCES[:4]) == tokens_of(whole, SENTENCES[:4])
    assert 50 < len(new) < len(whole)


def test_ids_of_padding_in_the_file_follow(tmp_path: Path, whole_of: Callable[[str], Any]) -> None:
    make_causal_llm("qwen2", tmp_path / "whole")
    path = tmp_path / "whole" / "tokenizer.json"
    inner = Tokenizer.from_file(str(path))
    inner.enable_padding(pad_id=inner.token_to_id("<|endoftext|>"), pad_token="<|endoftext|>", length=50)
    inner.enable_truncation(3)
    inner.save(str(path))
    new = trimmed(AutoTokenizer.from_pretrained(tmp_path / "whole"), ["the weather is good today"], tmp_path / "out")
    padding = json.loads((tmp_path / "out" / "tokenizer.json").read_text(encoding="utf-8"))["padding"]
    assert padding["pad_id"] == new.convert_tokens_to_ids("<|endoftext|>")
