"""Folders and hub names that hold no whole LLM."""

from pathlib import Path

import pytest
from huggingface_hub import constants

from slt_cache.errors import InputError
from slt_cache.runs.llm_folders import require_whole_llm


@pytest.fixture
def german(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commit of the LLM someone/german in the hub's local cache, as a download leaves it."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    commit = tmp_path / "models--someone--german" / "snapshots" / "0123abc"
    commit.mkdir(parents=True)
    (commit / "config.json").write_text("{}")
    (commit.parents[1] / "refs").mkdir()
    (commit.parents[1] / "refs" / "main").write_text(commit.name)
    return commit


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("adapter_config.json", "only LoRA weights (adapter_config.json), not a whole LLM"),
        ("sign_translator.json", "a translator trained in stage 2"),
        ("adapter.safetensors", "a translator trained in stage 2"),
    ],
)
def test_adapters_and_translators_on_the_hub_are_refused_by_their_name(file: str, says: str, german: Path) -> None:
    require_whole_llm("someone/german")
    (german / file).write_text("{}")
    assert says in refused_for("llm.name", "someone/german")


def refused_for(setting: str, name: str) -> str:
    with pytest.raises(InputError) as refused:
        require_whole_llm(name, setting)
    assert str(refused.value).startswith(f"{setting} {name}: ")
    return str(refused.value)


@pytest.mark.parametrize("weights", ["model.safetensors", "model.safetensors.index.json", None])
def test_a_translator_on_the_hub_is_offered_whole_only_with_its_llm(german: Path, weights: str | None) -> None:
    (german / "lora").mkdir()
    for file in ("sign_translator.json", "lora/adapter_config.json", *([weights] if weights else [])):
        (german / file).write_text("{}")
    said = refused_for("llm.name", "someone/german")
    assert ("set llm.init_from=someone/german" in said) == (weights is not None)
    assert ("exported without its LLM" in said) == (weights is None)
    assert "init_from" not in refused_for("--name", "someone/german")


@pytest.mark.parametrize(
    ("named", "made", "meant"),
    [
        ("", "llm/trimmed", "llm/trimmed"),
        ("llm", "llm/trimmed", "llm/trimmed"),
        ("", "llm/pretrained/best", "llm/pretrained/best"),
        ("llm/pretrained", "llm/pretrained/best", "llm/pretrained/best"),
    ],
)
def test_the_llm_within_a_run_is_named(tmp_path: Path, named: str, made: str, meant: str) -> None:
    (tmp_path / made).mkdir(parents=True)
    (tmp_path / made / "config.json").write_text("{}")
    assert refused_for("--name", str(tmp_path / named)).endswith(f"it holds one. Use {tmp_path / meant}.")
    require_whole_llm(str(tmp_path / made))


def test_the_advice_on_a_run_fits_the_command(tmp_path: Path) -> None:
    best = tmp_path / "llm" / "best"
    best.mkdir(parents=True)
    (best / "sign_translator.json").write_text("{}")
    assert f"set llm.init_from={best} instead" in refused_for("llm.name", str(tmp_path))
    said = refused_for("--name", str(tmp_path))
    assert "init_from" not in said and f"{best}. Name the LLM that it was fine-tuned from" in said
