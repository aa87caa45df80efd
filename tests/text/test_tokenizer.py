"""Sentences to token ids and back."""

import json
import unicodedata
from pathlib import Path
from typing import Literal

import pytest

from slt_cache.errors import InputError
from slt_cache.pipeline.trim_llm import trim_llm
from slt_cache.text.tokenizer import Tokenizer, as_llm_reads_it, load_tokenizer, train_tokenizer
from tests.helpers.small_causal_llms import TOKENIZERS, make_causal_llm
from tests.helpers.small_llms import make_small_llm

REAL = Path(__file__).parents[3] / "shared" / "real"
COMPOSED = "morgen fällt über österreich schnee"
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)


@pytest.mark.parametrize(
    "sentence",
    [
        "heute fällt schnee über österreich",
        "GRÖSSE, Übermaß & ähnliches!",
        "Good evening, ladies and gentlemen: 12 degrees.",
        "今下雪，有大风。",
        "明天晴，吗？",
    ],
)
def test_a_sentence_of_known_characters_comes_back(tmp_path: Path, sentences: list[str], sentence: str) -> None:
    train_tokenizer([*sentences, "GRÖSSE, Übermaß & ähnliches!"], 220, "de_DE", tmp_path / "tokenizer")
    tokenizer = load_tokenizer(str(tmp_path / "tokenizer"), "de_DE")
    ids = tokenizer.encode(sentence)
    assert tokenizer.decode(ids) == sentence
    assert tokenizer.inner.unk_token_id not in ids


def test_characters_that_the_text_has_not_get_pieces_too(tmp_path: Path, sentences: list[str]) -> None:
    train_tokenizer(sentences, 220, "de_DE", tmp_path / "tokenizer", "čŁ雨")
    tokenizer = load_tokenizer(str(tmp_path / "tokenizer"), "de_DE")
    assert tokenizer.decode(tokenizer.encode("heute č und Ł, 雨")) == "heute č und Ł, 雨"


def test_a_long_line_counts_too(tmp_path: Path) -> None:
    """By itself sentencepiece leaves out what is longer than 4,192 bytes."""
    train_tokenizer(["heute regnet es " * 500 + "qqq", "morgen"], 60, "de_DE", tmp_path / "tokenizer")
    tokenizer = load_tokenizer(str(tmp_path / "tokenizer"), "de_DE")
    assert tokenizer.decode(tokenizer.encode("qqq")) == "qqq"


def test_training_text_holds_no_unknown_piece_and_comes_back(tokenizer: Tokenizer, sentences: list[str]) -> None:
    for sentence in sentences:
        ids = tokenizer.encode(sentence)
        assert tokenizer.inner.unk_token_id not in ids
        assert tokenizer.decode(ids) == sentence


def test_full_width_punctuation_is_not_normalized_away(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode(tokenizer.encode("今天晴，吗？")) != tokenizer.decode(tokenizer.encode("今天晴,吗?"))
    assert "，" in tokenizer.decode(tokenizer.encode("今下雪，有大风。"))


def test_the_pieces_are_words_and_parts_of_words(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("heute regnet es im süden")
    assert 4 < len(ids) < len("heute regnet es im süden")
    assert sum(tokenizer.starts_word(piece) for piece in ids) == 5


def test_encoding_adds_no_frame_and_decoding_leaves_it_out(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("heute regnet es")
    frame = {tokenizer.pad, tokenizer.eos, tokenizer.mask, tokenizer.language_code()}
    assert not frame & set(ids)
    framed = [*tokenizer.start, *ids, tokenizer.eos, tokenizer.pad, tokenizer.pad]
    assert tokenizer.decode(framed) == "heute regnet es"
    assert tokenizer.decode([]) == ""


def test_the_special_tokens_have_ids_of_their_own(tokenizer: Tokenizer) -> None:
    special = [tokenizer.pad, tokenizer.eos, tokenizer.mask, tokenizer.language_code(), tokenizer.inner.unk_token_id]
    assert len(set(special)) == 5
    assert max(special) < len(tokenizer)


def test_decoding_begins_with_the_code_of_the_language(tokenizer_folder: Path) -> None:
    codes = {
        language: load_tokenizer(str(tokenizer_folder), language).start for language in ("de_DE", "zh_CN", "en_XX")
    }
    assert all(len(start) == 1 for start in codes.values())
    assert len(set(codes.values())) == 3
    tokenizer = load_tokenizer(str(tokenizer_folder), "zh_CN")
    assert tokenizer.inner.convert_ids_to_tokens(tokenizer.start[0]) == "zh_CN"


def test_the_same_text_gives_the_same_tokenizer(tmp_path: Path, sentences: list[str], tokenizer: Tokenizer) -> None:
    train_tokenizer(iter(sentences), 180, "de_DE", tmp_path / "again")
    again = load_tokenizer(str(tmp_path / "again"), "de_DE")
    assert again.inner.get_vocab() == tokenizer.inner.get_vocab()
    assert [again.encode(sentence) for sentence in sentences] == [tokenizer.encode(sentence) for sentence in sentences]


def test_a_saved_tokenizer_cuts_the_same(tmp_path: Path, sentences: list[str], tokenizer: Tokenizer) -> None:
    tokenizer.save(tmp_path / "saved")
    saved = load_tokenizer(str(tmp_path / "saved"), "de_DE")
    unseen = "übermorgen regnet es in München， 37 Grad"
    for sentence in [*sentences, unseen]:
        assert saved.encode(sentence) == tokenizer.encode(sentence)
    assert (saved.start, saved.pad, saved.eos, saved.mask) == (
        tokenizer.start,
        tokenizer.pad,
        tokenizer.eos,
        tokenizer.mask,
    )


def test_it_holds_at_most_so_many_pieces_beside_the_special_ones(tokenizer: Tokenizer) -> None:
    assert 100 < len(tokenizer) <= 180 + 4 + 25 + 1  # <s> <pad> </s> <unk>, language codes, <mask>


def test_an_unknown_language_is_refused_with_the_known_ones(tokenizer_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"llm\.language.*'xx_YY'.*de_DE"):
        load_tokenizer(str(tokenizer_folder), "xx_YY").language_code()
    with pytest.raises(InputError, match=r"llm\.language.*'xx_YY'.*de_DE"):
        train_tokenizer(["ein satz"], 30, "xx_YY", tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("what", ["missing", "empty", "broken"])
def test_a_folder_without_a_tokenizer_is_refused_by_the_name_of_its_setting(tmp_path: Path, what: str) -> None:
    folder = tmp_path / what
    if what != "missing":
        folder.mkdir()
    if what == "broken":
        (folder / "tokenizer.json").write_text("{half")
        (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "MBartTokenizer"}')
    with pytest.raises(InputError, match=r"llm\.name") as refused:
        load_tokenizer(str(folder), "de_DE")
    assert str(folder) in str(refused.value)


@pytest.mark.parametrize("family", ["gemma3_text", "gpt2", "llama3", "mbart", "t5"])
def test_a_model_without_the_files_of_its_tokenizer_is_one_line(tmp_path: Path, family: str) -> None:
    """transformers makes a tokenizer without tokens for some of them."""
    (make_causal_llm if family in TOKENIZERS else make_small_llm)(family, tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    for _ in range(2):
        with pytest.raises(InputError, match=r"its tokenizer has no vocabulary \(none of tokenizer\.json, ") as refused:
            load_tokenizer(str(tmp_path), "de_DE")
        assert str(refused.value).startswith(f"llm.name {tmp_path}: ")
        (tmp_path / "tokenizer_config.json").unlink(missing_ok=True)


@pytest.mark.parametrize("family", ["gpt2", "xglm", "mbart", "mt5", "nllb"])
def test_a_tokenizer_without_end_token_is_one_line_before_anything_is_trimmed(tmp_path: Path, family: str) -> None:
    """transformers fails on some of them before it has made one."""
    folder, file = tmp_path / "llm", tmp_path / "llm" / "tokenizer_config.json"
    (make_causal_llm if family in TOKENIZERS else make_small_llm)(family, folder)
    file.write_text(json.dumps({**json.loads(file.read_text()), "eos_token": None}))
    (folder / "model.safetensors").unlink()  # its weights are not read
    with pytest.raises(InputError, match="its tokenizer has no end token, so generation would never stop"):
        trim_llm(str(folder), ["regen"], {}, tmp_path / "trimmed")
    assert not (tmp_path / "trimmed").exists()


def test_text_with_more_characters_than_pieces_is_refused_by_the_name_of_the_setting(tmp_path: Path) -> None:
    characters = "".join(chr(0x4E00 + number) for number in range(300))
    sentences = [characters[first : first + 10] for first in range(0, 300, 10)]
    with pytest.raises(InputError, match=r"llm_pretraining\.vocabulary"):
        train_tokenizer(sentences, 200, "zh_CN", tmp_path / "tokenizer")


@pytest.mark.parametrize("sentences", [[], ["  ", ""]])
def test_no_text_is_refused(tmp_path: Path, sentences: list[str]) -> None:
    with pytest.raises(InputError):
        train_tokenizer(sentences, 200, "de_DE", tmp_path / "tokenizer")


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (DECOMPOSED, COMPOSED),
        ("  heute\tregen \u00a0und\u3000schnee\n", "heute regen und schnee"),
        ("今天下雪，随后晴。ＡＢＣ", "今天下雪，随后晴。ＡＢＣ"),
        ("Er sagte: „Schnee“ …", "Er sagte: „Schnee“ …"),
        (" ", ""),
    ],
)
def test_nfc_and_single_blanks_and_nothing_else(text: str, read: str) -> None:
    assert as_llm_reads_it(text) == read
    assert as_llm_reads_it(read) == read


def test_the_tokenizer_cuts_both_spellings_alike(tokenizer: Tokenizer) -> None:
    assert DECOMPOSED != COMPOSED
    assert tokenizer.encode(f" {DECOMPOSED}\u00a0 ") == tokenizer.encode(COMPOSED)
    assert tokenizer.inner.unk_token_id not in tokenizer.encode(DECOMPOSED)


def test_the_ids_of_ordinary_text_are_those_of_the_bare_tokenizer(tokenizer: Tokenizer, sentences: list[str]) -> None:
    for sentence in [*sentences, COMPOSED, "今天下雪，随后晴。"]:
        assert tokenizer.encode(sentence) == tokenizer.inner(sentence, add_special_tokens=False)["input_ids"]


def test_pieces_are_trained_on_what_the_tokenizer_will_read(tmp_path: Path, sentences: list[str]) -> None:
    forms: tuple[Literal["NFC", "NFD"], ...] = ("NFC", "NFD")
    for form in forms:
        train_tokenizer([unicodedata.normalize(form, one) for one in sentences], 180, "de_DE", tmp_path / form)
    composed, decomposed = (load_tokenizer(str(tmp_path / form), "de_DE") for form in forms)
    assert decomposed.sha256 == composed.sha256


def test_the_real_sentences_are_so_already() -> None:
    text = REAL / "text" / "phoenix14t.train.de.txt"
    if not text.is_file():
        pytest.skip("the real sentences are not there")
    for sentence in text.read_text(encoding="utf-8").splitlines():
        assert as_llm_reads_it(sentence) == sentence
