"""LLMs as they are loaded for training: activation checkpointing."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from slt_cache.config import LlmTrainingConfig, LoraConfig
from slt_cache.errors import InputError
from slt_cache.models.llm.load import checkpoint_activations, load_seq2seq
from slt_cache.models.llm.lora import add_lora
from slt_cache.models.translators import SignTranslator, token_loss
from slt_cache.text.tokenizer import load_tokenizer
from tests.helpers.small_causal_llms import CAUSAL_FAMILIES, make_causal_llm
from tests.helpers.small_llms import FAMILIES, make_small_llm

DIM = 8
CODES = {"mbart": "de_DE", "mbart50": "de_DE", "nllb": "deu_Latn", "m2m100": "de"}


def gradients(model: SignTranslator) -> dict[str, torch.Tensor]:
    """Gradients of one step in training, dropout included."""
    torch.manual_seed(5)
    features, lengths = torch.randn(9, DIM), torch.tensor([5, 4])
    ids = torch.tensor([[*model.start, 9, 8, 7], [*model.start, 7, 6, 5]])
    model.train().zero_grad()
    token_loss(model(features, lengths, ids), ids.roll(-1, 1), 0.1).backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("lora", [False, True], ids=["whole", "lora"])
@pytest.mark.parametrize("family", [*FAMILIES, *CAUSAL_FAMILIES])
def test_recomputed_activations_give_the_same_gradients(family: str, lora: bool, tmp_path: Path) -> None:
    (make_small_llm if family in FAMILIES else make_causal_llm)(family, tmp_path / "llm")
    tokenizer = load_tokenizer(str(tmp_path / "llm"), CODES.get(family))
    seq2seq = load_seq2seq(str(tmp_path / "llm"), dropout=0.2, tokenizer=tokenizer)
    if lora:
        add_lora(seq2seq, LoraConfig(r=2, dropout=0.1))
    model = SignTranslator(DIM, seq2seq, tokenizer.start)
    stored = gradients(model)
    assert any("adapter" in name for name in stored)
    checkpoint_activations(model.seq2seq)
    calls = 0

    def counted(*_: object) -> None:
        nonlocal calls
        calls += 1

    layer = next(part for part in seq2seq.get_decoder().children() if isinstance(part, torch.nn.ModuleList))[0]
    next(
        part for part in layer.modules() if isinstance(part, torch.nn.Linear) or part.__class__.__name__ == "Conv1D"
    ).register_forward_hook(counted)
    recomputed = gradients(model)
    assert calls == 2  # forward, and again in the backward pass
    assert recomputed.keys() == stored.keys()
    for name, gradient in stored.items():
        assert torch.equal(recomputed[name], gradient), name
    calls = 0
    model.eval().generate(torch.randn(3, DIM), torch.tensor([3]), max_new_tokens=2)
    assert calls


def test_a_model_that_cannot_recompute_is_refused_and_records_do_not_ask(tmp_path: Path) -> None:
    make_causal_llm("llama", tmp_path / "llm")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "llm")
    type(model).supports_gradient_checkpointing, before = False, type(model).supports_gradient_checkpointing
    try:
        with pytest.raises(InputError, match=r"llm_training\.checkpointing: LlamaForCausalLM does not support it\."):
            checkpoint_activations(model)
    finally:
        type(model).supports_gradient_checkpointing = before
    assert LlmTrainingConfig(checkpointing=True).recorded() == LlmTrainingConfig().recorded()
