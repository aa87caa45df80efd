"""The rows of a trimmed model, and the settings that name tokens."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, Gemma3Config, PreTrainedModel

from slt_cache.errors import InputError
from slt_cache.models.llm.trimming import token_ids_of, trim_model
from tests.helpers.small_causal_llms import CAUSAL_FAMILIES, make_causal_llm
from tests.helpers.small_llms import make_small_llm


def test_settings_that_name_no_token_are_refused_before_anything_changes(tmp_path: Path) -> None:
    make_small_llm("bart", tmp_path / "whole")
    model = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "whole")
    model.config.forced_eos_token_id = 50
    with pytest.raises(InputError, match="forced_eos_token_id is 50"):
        trim_model(model, [0, 1, 2, 3], {})
    assert len(model.get_input_embeddings().weight) == model.config.vocab_size > 4


def causal_llm(family: str, folder: Path) -> Any:
    make_causal_llm(family, folder)
    return AutoModelForCausalLM.from_pretrained(folder).eval()


@torch.no_grad()
def logits(model: Any, ids: torch.Tensor) -> list[torch.Tensor]:
    """Of token ids [B, L], and of the embeddings that they have."""
    return [model(input_ids=ids).logits, model(inputs_embeds=model.get_input_embeddings()(ids)).logits]


@pytest.mark.parametrize("family", CAUSAL_FAMILIES)
def test_a_decoder_only_llm_gives_kept_tokens_the_logits_of_before(family: str, tmp_path: Path) -> None:
    whole, model = (causal_llm(family, tmp_path / "whole") for _ in range(2))
    others = torch.randperm(whole.config.vocab_size)[:60].tolist()
    kept = torch.tensor(sorted({*token_ids_of(model), *others}))
    trim_model(model, kept.tolist(), {})
    model.save_pretrained(tmp_path / "out")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    picked = torch.randint(len(kept), (3, 9))
    found = [logits(*one) for one in ((whole, kept[picked]), (model, picked), (again, picked))]
    for was, now, read in zip(*found, strict=True):
        assert torch.allclose(was[..., kept], now, atol=1e-5, rtol=0) and torch.equal(now, read)
        assert now.std() > 0.01
    tied = whole.get_output_embeddings().weight is whole.get_input_embeddings().weight
    for one in (model, again):
        assert (one.get_output_embeddings().weight is one.get_input_embeddings().weight) == tied
    assert len(again.get_input_embeddings().weight) == again.config.vocab_size == len(kept)
    assert model.get_output_embeddings().out_features == model.get_input_embeddings().num_embeddings == len(kept)
    changes = {key for key, old in whole.config.to_dict().items() if again.config.to_dict()[key] != old}
    assert changes <= {"vocab_size", "_name_or_path", *(f"{kind}_token_id" for kind in ("bos", "eos", "pad"))}


def test_lists_of_end_tokens_and_those_of_generation_follow(tmp_path: Path) -> None:
    model = causal_llm("gemma3_text", tmp_path / "whole")
    model.config.eos_token_id = [1, 46]
    model.generation_config.eos_token_id = [1, 46]
    model.generation_config.pad_token_id = 0
    assert token_ids_of(model) >= {0, 1, 2, 46}
    trim_model(model, [0, 1, 2, 46, 300, 301], {})
    assert model.config.eos_token_id == model.generation_config.eos_token_id == [1, 3]
    assert (model.config.bos_token_id, model.generation_config.pad_token_id) == (2, 0)


def test_ids_that_the_model_has_no_row_for_are_dropped_and_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    make_causal_llm("gpt2", tmp_path / "whole", bos_token_id=50256, eos_token_id=[50256, 3])
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "whole")
    assert token_ids_of(model) == {3}
    trim_model(model, [2, 3], {})
    assert (model.config.bos_token_id, model.config.eos_token_id) == (None, [1])
    assert "bos_token_id is 50256" in capfd.readouterr().err


def test_settings_of_the_text_within_others_follow(tmp_path: Path) -> None:
    text = {"vocab_size": 90, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "head_dim": 8}
    text |= {"num_attention_heads": 2, "num_key_value_heads": 1, "bos_token_id": 2, "eos_token_id": 1}
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision |= {"image_size": 28, "patch_size": 14}
    ids: dict[str, Any] = {
        "boi_token_index": 80,
        "eoi_token_index": 81,
        "image_token_index": 82,
        "eos_token_id": [1, 7],
    }
    config = Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4, **ids)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    assert token_ids_of(model) == {0, 1, 2, 7, 80, 81, 82}
    kept = torch.tensor([0, 1, 2, 5, 7, 50, 80, 81, 82])
    with torch.no_grad():
        embeds = torch.randn(1, 4, 16)
        was = model(inputs_embeds=embeds).logits[..., kept]
        trim_model(model, kept.tolist(), {})
        assert torch.allclose(model(inputs_embeds=embeds).logits, was, atol=1e-6)
    model.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    inner = again.config.text_config
    assert (inner.vocab_size, inner.bos_token_id, inner.eos_token_id) == (9, 2, 1)
    assert (again.config.eos_token_id, again.config.image_token_index) == ([1, 4], 8)
    assert again.get_input_embeddings().weight.shape == (9, 16)
