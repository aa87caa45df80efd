"""Prompts of decoder-only LLMs: tokens before and after the video, with the tokenizer's own beginning or template."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slt_cache.config.llm import LlmConfig
from slt_cache.errors import InputError
from slt_cache.text.prompt import has_prompt, prompt_texts, with_prompt
from slt_cache.text.tokenizer import Tokenizer, load_tokenizer
from tests.helpers.small_causal_llms import make_causal_llm
from tests.helpers.small_llms import make_small_llm

DATED = """
{% if strftime_now is defined %}Today: {{ strftime_now("%d %b %Y") }}. {% endif %}{{ messages[0]["content"] }}"""
ENDED = """{{ messages[0]["content"] }}{{ eos_token }}"""
PROMPT = "regen {video} sonne"
PHRASE = "am tag {video} regnet es"
Load = Callable[[str], tuple[Tokenizer, str]]


def test_a_chat_template_that_tells_the_date_gives_the_same_prompt_every_day(tmp_path: Path) -> None:
    make_causal_llm("llama3", tmp_path)
    inner = load_tokenizer(str(tmp_path), None).inner
    inner.chat_template = DATED
    assert "26 Jul 2024" not in inner.apply_chat_template([{"role": "user", "content": ""}], tokenize=False)
    before, after = prompt_texts(inner, LlmConfig(name=str(tmp_path), prompt=PROMPT, chat_template=True))
    assert (before, after) == ("\nToday: 26 Jul 2024. regen ", " sonne")


def test_a_prompt_may_name_the_end_token_though_it_is_the_unknown_one_too(tmp_path: Path) -> None:
    make_causal_llm("gpt2", tmp_path)
    tokenizer = load_tokenizer(str(tmp_path), None)
    assert tokenizer.inner.unk_token_id == tokenizer.eos
    tokenizer.inner.chat_template = ENDED
    prompted = with_prompt(tokenizer, LlmConfig(name=str(tmp_path), prompt=PROMPT, chat_template=True))
    assert tokenizer.inner.decode(prompted.start) == " sonne<|endoftext|>"


@pytest.mark.parametrize(
    ("more", "advice"),
    [
        ({}, r"Use other words, or set llm\.trim=false\.$"),
        ({"trim": False}, r"Use other words\.$"),
        ({"init_from": "other/llm/best", "init_without": ["prompt"]}, r"Use other words\.$"),
    ],
)
def test_a_prompt_of_unknown_characters_is_refused_with_what_would_help(
    tmp_path: Path, more: dict[str, Any], advice: str
) -> None:
    make_causal_llm("xglm", tmp_path)
    settings = LlmConfig.model_validate({"name": str(tmp_path), "prompt": "\N{SNOWMAN} {video}", **more})
    with pytest.raises(InputError, match=f"does not know all characters of .*{advice}"):
        with_prompt(load_tokenizer(str(tmp_path), None), settings)


def test_an_llm_that_is_no_longer_on_this_machine_may_have_a_prompt(tmp_path: Path) -> None:
    """A run keeps it trimmed; of which kind it is shows when that is loaded."""
    assert has_prompt(LlmConfig(name=str(tmp_path / "deleted"), prompt=PROMPT))
    with pytest.raises(InputError, match="encoder-decoder, which takes no prompt"):
        has_prompt(LlmConfig(name="small-mbart", prompt=PROMPT))


@pytest.mark.parametrize("asked", [{"prompt": PROMPT}, {"chat_template": True}])
def test_an_encoder_decoder_takes_none(asked: Any, tmp_path: Path) -> None:
    make_small_llm("t5", tmp_path)
    assert not has_prompt(LlmConfig(name=str(tmp_path)))
    with pytest.raises(InputError, match="is an encoder-decoder, which takes no prompt"):
        has_prompt(LlmConfig(name=str(tmp_path), **asked))


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    folders: dict[str, Path] = {}

    def loaded(family: str) -> tuple[Tokenizer, str]:
        if family not in folders:
            folders[family] = tmp_path_factory.mktemp(family) / "llm"
            make_causal_llm(family, folders[family])
        return load_tokenizer(str(folders[family]), "de_DE"), str(folders[family])

    return loaded


@pytest.mark.parametrize(
    ("family", "start", "begins"),
    [
        ("gemma3_text", "<bos>", []),  # the published one begins with <bos>, the small one with nothing
        ("llama3", "<|begin_of_text|>", ["<|begin_of_text|>"]),
        ("mistral", "<s>", ["<s>"]),
        ("qwen3", "<|im_end|>", []),  # no beginning token
        ("gpt2", "<|endoftext|>", []),  # one for both ends, which no text begins with
    ],
)
def test_a_prompt_begins_as_every_text_and_the_sentence_follows_what_is_after_the_video(
    load: Load, family: str, start: str, begins: list[str]
) -> None:
    tokenizer, name = load(family)
    inner = tokenizer.inner
    assert inner.convert_ids_to_tokens(list(tokenizer.start)) == [start] and tokenizer.before == ()
    asked = with_prompt(tokenizer, LlmConfig(name=name, prompt=PHRASE))
    assert inner.convert_ids_to_tokens(list(asked.before)) == [*begins, *inner.tokenize("am tag ")]
    assert inner.convert_ids_to_tokens(list(asked.start)) == inner.tokenize(" regnet es")
    alone = with_prompt(tokenizer, LlmConfig(name=name, prompt="am tag {video}"))
    assert inner.convert_ids_to_tokens(list(alone.start)) == [start]
    assert asked.sha256 == tokenizer.sha256


def test_a_saved_tokenizer_keeps_its_prompt(load: Load, tmp_path: Path) -> None:
    tokenizer, name = load("gemma3_text")
    asked = with_prompt(tokenizer, LlmConfig(name=name, prompt=PHRASE))
    asked.save(tmp_path)
    again = load_tokenizer(str(tmp_path), "de_DE")
    assert (again.before, again.start) == (asked.before, asked.start)
    tokenizer.save(tmp_path)
    assert "before" not in (tmp_path / "framing.json").read_text()


def test_a_chat_template_makes_a_turn_of_the_prompt(load: Load) -> None:
    tokenizer, name = load("gemma3_text")
    asked = with_prompt(tokenizer, LlmConfig(name=name, prompt=PHRASE, chat_template=True))
    text = tokenizer.inner.decode([*asked.before, tokenizer.inner.unk_token_id, *asked.start])
    assert text.replace("<unk>", "{video}") == (
        "<bos><start_of_turn>user\nam tag {video} regnet es<end_of_turn>\n<start_of_turn>assistant\n"
    )


def test_a_template_that_does_not_take_the_prompt_is_one_line(load: Load) -> None:
    tokenizer, name = load("gpt2")
    chat = LlmConfig(name=name, prompt=PHRASE, chat_template=True)
    with pytest.raises(InputError, match=r"llm\.chat_template: the LLM's tokenizer has no chat template"):
        with_prompt(tokenizer, chat)
    tokenizer, name = load("qwen3")
    for template, why in {
        "{{ nothing.here }}": "fails",
        "hello": "omits or repeats",
        "{{ messages * 2 }}": "omits",
    }.items():
        tokenizer.inner.chat_template = template
        with pytest.raises(InputError, match=rf"llm\.chat_template: the tokenizer's template {why}"):
            with_prompt(tokenizer, chat)
