"""Prompts of decoder-only LLMs."""

from pathlib import Path

import pytest

from slt_cache.config.llm import LlmConfig
from slt_cache.errors import InputError
from slt_cache.text.prompt import has_prompt, prompt_texts, with_prompt
from slt_cache.text.tokenizer import load_tokenizer
from tests.helpers.small_causal_llms import make_causal_llm

DATED = """
{% if strftime_now is defined %}Today: {{ strftime_now("%d %b %Y") }}. {% endif %}{{ messages[0]["content"] }}"""
ENDED = """{{ messages[0]["content"] }}{{ eos_token }}"""
PROMPT = "regen {video} sonne"


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


def test_a_prompt_of_unknown_characters_is_refused(tmp_path: Path) -> None:
    make_causal_llm("xglm", tmp_path)
    settings = LlmConfig(name=str(tmp_path), prompt="\N{SNOWMAN} {video}")
    with pytest.raises(InputError, match="does not know all characters"):
        with_prompt(load_tokenizer(str(tmp_path), None), settings)


def test_an_llm_that_is_no_longer_on_this_machine_may_have_a_prompt(tmp_path: Path) -> None:
    """A run keeps it trimmed; of which kind it is shows when that is loaded."""
    assert has_prompt(LlmConfig(name=str(tmp_path / "deleted"), prompt=PROMPT))
    with pytest.raises(InputError, match="encoder-decoder, which takes no prompt"):
        has_prompt(LlmConfig(name="small-mbart", prompt=PROMPT))
