"""Attention masks that are made without reading them: the logits are those of masks left out if they hide nothing."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS as MASKS

from slt_cache.models.llm.masks import unread_masks
from slt_cache.models.translators import make_light_t
from tests.helpers.small_causal_llms import make_causal_llm

DEVICE = torch.device("meta")
WORDS = 40


@pytest.mark.parametrize("lengths", [(5, 5), (5, 2)], ids=["nothing hidden", "padding"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@torch.no_grad()
def test_an_encoder_decoder_gives_the_same_logits(lengths: tuple[int, ...], attention: str) -> None:
    model: Any = make_light_t("tiny", WORDS, pad=1, eos=2, dropout=0.1).eval()
    model.set_attn_implementation(attention)
    given = {
        "inputs_embeds": torch.randn(2, 5, model.config.d_model),
        "attention_mask": (torch.arange(5) < torch.tensor(lengths)[:, None]).long(),
        "decoder_input_ids": torch.randint(3, WORDS, (2, 4)),
        "use_cache": False,
    }
    expected = model(**given).logits
    with unread_masks(DEVICE):
        torch.testing.assert_close(model(**given).logits, expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(model(**given).logits, expected)


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("family", ["llama3", "gemma3_text"])
@torch.no_grad()
def test_a_decoder_only_llm_gives_the_same_logits(tmp_path: Path, family: str, padding: int) -> None:
    from transformers import AutoModelForCausalLM

    make_causal_llm(family, tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    mask = torch.ones(2, 6, dtype=torch.int64)
    mask[1, :padding] = 0
    given = {"inputs_embeds": torch.randn(2, 6, model.config.hidden_size), "attention_mask": mask, "use_cache": False}
    expected = model(**given).logits
    with unread_masks(DEVICE):
        found = model(**given).logits
    torch.testing.assert_close(found[mask.bool()], expected[mask.bool()], atol=1e-5, rtol=1e-5)


def test_masks_are_made_as_before_after_an_error_and_on_a_cpu() -> None:
    before = {name: MASKS[name] for name in ("sdpa", "eager")}
    with unread_masks(torch.device("cpu")):
        assert {name: MASKS[name] for name in before} == before
    with pytest.raises(KeyError), unread_masks(DEVICE):
        assert MASKS["sdpa"] != before["sdpa"]
        raise KeyError
    assert {name: MASKS[name] for name in before} == before
