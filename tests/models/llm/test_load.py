"""Loading of LLMs, whatever they are stored in."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from slt_cache.models.llm.load import load_whole, read_config
from tests.helpers.small_causal_llms import make_causal_llm


def test_the_weights_of_a_gguf_file_become_an_ordinary_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that can be saved and loaded again, though transformers says in the config that they were quantized."""
    make_causal_llm("gemma3_text", tmp_path / "llm")
    from_pretrained: Any = AutoModelForCausalLM.from_pretrained

    def from_gguf(source: str, gguf_file: str, **options: Any) -> Any:
        assert (source, gguf_file) == (str(tmp_path), "a.gguf")
        model, found = from_pretrained(tmp_path / "llm", **options)
        model.config.quantization_config = {"quant_method": "gguf", "gguf_file": gguf_file}
        return model, found

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", from_gguf)
    config = read_config(str(tmp_path / "llm"))
    model = load_whole(str(tmp_path / "a.gguf"), config=config, dtype=torch.float32)
    monkeypatch.undo()
    model.save_pretrained(tmp_path / "saved")
    assert not hasattr(read_config(str(tmp_path / "saved")), "quantization_config")
    kept = from_pretrained(tmp_path / "llm").state_dict()
    again = load_whole(str(tmp_path / "saved"), config=config, dtype=torch.float32).state_dict()
    assert all(torch.equal(again[name], weight) for name, weight in kept.items())
