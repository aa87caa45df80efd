"""Folders and hub names that hold no whole LLM."""

from pathlib import Path

import pytest
from huggingface_hub import constants

from slt_cache.errors import InputError
from slt_cache.runs.llm_folders import require_whole_llm


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("adapter_config.json", "only LoRA weights (adapter_config.json), not a whole LLM"),
        ("sign_translator.json", "a translator trained in stage 2"),
        ("adapter.safetensors", "a translator trained in stage 2"),
    ],
)
def test_adapters_and_translators_on_the_hub_are_refused_by_their_name(
    file: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub's local cache, as a download leaves it: a branch that names a commit, and the commit's files."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    commit = tmp_path / "models--someone--german" / "snapshots" / "0123abc"
    commit.mkdir(parents=True)
    (commit / "config.json").write_text("{}")
    (commit.parents[1] / "refs").mkdir()
    (commit.parents[1] / "refs" / "main").write_text(commit.name)
    require_whole_llm("someone/german")
    (commit / file).write_text("{}")
    with pytest.raises(InputError, match=r"llm\.name someone/german: ") as refused:
        require_whole_llm("someone/german")
    assert says in str(refused.value)
