"""LLMs that write several languages: how a sentence in each of them begins."""

from pathlib import Path

import pytest

from slt_cache.config import LlmConfig
from slt_cache.errors import InputError
from slt_cache.text.prompt import with_prompt
from slt_cache.text.tokenizer import Tokenizer, load_tokenizer
from tests.helpers.small_causal_llms import make_causal_llm
from tests.helpers.small_llms import make_small_llm

CODES = {
    "mbart": ("de_DE", "en_XX"),
    "mbart50": ("de_DE", "en_XX"),
    "nllb": ("deu_Latn", "eng_Latn"),
    "m2m100": ("de", "en"),
}


@pytest.mark.parametrize("family", CODES)
def test_each_language_begins_as_a_tokenizer_of_that_language_alone(family: str, tmp_path: Path) -> None:
    make_small_llm(family, tmp_path / "llm")
    name = str(tmp_path / "llm")
    both = load_tokenizer(name, "de+en")
    assert both.languages == ("de", "en")
    alone = [load_tokenizer(name, code).start for code in CODES[family]]
    assert [prefix.start for prefix in both.prefixes] == alone
    assert both.start == alone[0]
    assert both.rows_of(["en", "de", "en"]) == [1, 0, 1]
    assert [both.language_code(one) for one in ("de", "en")] == [
        load_tokenizer(name, code).language_code() for code in CODES[family]
    ]
    both.save(tmp_path / "saved")
    assert load_tokenizer(str(tmp_path / "saved"), "de+en").prefixes == both.prefixes
    assert both.of_language("en").start == alone[1]


def test_a_language_without_a_code_is_refused_unless_its_code_is_named(tmp_path: Path) -> None:
    make_small_llm("mbart", tmp_path / "llm")
    name = str(tmp_path / "llm")
    with pytest.raises(InputError, match=r"no code for the language 'xy'.*llm\.language=de\+xy=CODE, of .*de_DE"):
        load_tokenizer(name, "de+xy")
    named = load_tokenizer(name, "de+xy=en_XX")
    assert named.languages == ("de", "xy")
    assert named.prefixes[1].start == load_tokenizer(name, "en_XX").start
    with pytest.raises(InputError, match="the language 'fr', but the LLM writes de, xy"):
        named.rows_of(["fr"])
    with pytest.raises(InputError, match="no language, but the LLM writes"):
        named.rows_of([""])


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_an_llm_without_language_codes_is_refused_several_languages(family: str, tmp_path: Path) -> None:
    make_small_llm(family, tmp_path / "llm")
    with pytest.raises(InputError, match=r"no language codes.*de, en.*\{language\} in llm\.prompt"):
        load_tokenizer(str(tmp_path / "llm"), "de+en")


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("gpt2") / "llm"
    make_causal_llm("gpt2", folder)
    return load_tokenizer(str(folder), "de+en")


def test_a_prompt_names_the_language_of_each_sentence(gpt2: Tokenizer) -> None:
    found = with_prompt(gpt2, LlmConfig(name="x", prompt="To {language}: {video} {language}:"))
    words = [
        found.inner.decode([*one.before, *one.after, *one.start]).removeprefix(found.inner.bos_token or "")
        for one in found.prefixes
    ]
    assert words == ["To German:  German:", "To English:  English:"]
    assert {len(one.start) for one in found.prefixes} == {1}


def test_a_prompt_that_names_no_language_is_refused_for_several(gpt2: Tokenizer) -> None:
    with pytest.raises(InputError, match=r"in de, en.*llm\.prompt=\{video\} \{language\}:"):
        with_prompt(gpt2, LlmConfig(name="x", prompt="Translate: {video} Sentence:"))


def test_one_language_is_named_too(gpt2: Tokenizer) -> None:
    alone = Tokenizer(gpt2.inner, "de_DE", gpt2.start)
    found = with_prompt(alone, LlmConfig(name="x", prompt="{video} {language}:"))
    assert found.inner.decode(found.start).strip() == "German:"
    with pytest.raises(InputError, match=r"llm\.language is not set"):
        with_prompt(Tokenizer(gpt2.inner, None, gpt2.start), LlmConfig(name="x", prompt="{video} {language}:"))


def test_a_light_t_gets_a_start_of_its_own_for_each_language(gpt2: Tokenizer) -> None:
    found, words = gpt2.for_light_t(), len(gpt2)
    assert [prefix.start for prefix in found.prefixes] == [(words,), (words + 1,)]
    assert len(found) == words + 2
