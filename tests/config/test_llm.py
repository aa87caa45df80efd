"""Settings of the LLM: the prompt as it is written, and what a record says of it."""

from pathlib import Path

import pytest

from slt_cache.config import load_config
from slt_cache.errors import InputError

PROMPTS = ("{video}", "Translate: {video} German:", "{video}: ", 'He said "{video}"', "a\n{video}")


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_prompt_on_the_command_line_is_text_as_it_stands(prompt: str) -> None:
    assert load_config("avatar", [f"llm.prompt={prompt}"]).llm.prompt == prompt
    if "\n" not in prompt and '"' not in prompt:
        assert load_config("avatar", [f'llm.prompt="{prompt}"']).llm.prompt == prompt
        assert load_config("avatar", [f"llm.prompt='{prompt}'"]).llm.prompt == prompt


def test_a_prompt_of_a_file_may_be_the_video_without_quotes(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("llm:\n  prompt: {video}\n")
    assert load_config(str(tmp_path / "config.yaml")).llm.prompt == "{video}"
    (tmp_path / "config.yaml").write_text('llm:\n  prompt: "Sign: {video} German:"\n')
    assert load_config(str(tmp_path / "config.yaml")).llm.prompt == "Sign: {video} German:"


@pytest.mark.parametrize("prompt", ["Translate:", "{video} or {video}", "{Video}", ""])
def test_a_prompt_without_one_place_for_the_video_is_refused(prompt: str) -> None:
    with pytest.raises(InputError, match=r"llm\.prompt: must contain \{video\} exactly once"):
        load_config("avatar", [f"llm.prompt='{prompt}'"])


def test_a_record_names_the_prompt_only_where_there_is_one() -> None:
    usual = load_config("avatar").llm.recorded()
    assert not {"prompt", "chat_template"} & usual.keys()
    asked = load_config("avatar", ["llm.prompt=Sign: {video}", "llm.chat_template=true"]).llm.recorded()
    assert asked == {**usual, "prompt": "Sign: {video}", "chat_template": True}


@pytest.mark.parametrize(
    ("settings", "lr"),
    [
        ((), 1e-3),
        (("objective=causal",), 1e-4),
        (("objective=causal", "lora.r=8"), 5e-4),
        (("objective=causal", "lora=null"), 1e-4),
        (("objective=causal", "lr=2e-5"), 2e-5),
    ],
)
def test_the_learning_rate_on_text_depends_on_what_learns(settings: tuple[str, ...], lr: float) -> None:
    config = load_config("avatar", [f"llm_pretraining.{setting}" for setting in settings])
    assert config.llm_pretraining.lr == lr
    assert type(config).model_validate(config.model_dump(mode="json")) == config
