"""Loading of LLMs, whatever they are stored in, and activation checkpointing."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from slt_cache.config import LlmTrainingConfig, LoraConfig
from slt_cache.errors import InputError
from slt_cache.models.llm.load import checkpoint_activations, load_seq2seq, load_whole, read_config
from slt_cache.models.llm.lora import add_lora
from slt_cache.models.llm.trimming import rows_of
from slt_cache.models.translators import SignTranslator, token_loss
from slt_cache.pipeline.trim_llm import IDS_FILE, trim_llm
from slt_cache.reading import read_json
from slt_cache.text.tokenizer import load_tokenizer
from tests.helpers.small_causal_llms import CAUSAL_FAMILIES, make_causal_llm
from tests.helpers.small_llms import FAMILIES, SENTENCES, make_small_llm

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


@pytest.mark.parametrize(
    ("family", "masks"),
    [
        ("gpt2", ("h.0.attn.bias", "h.0.attn.masked_bias")),
        ("gpt_neo", ("transformer.h.0.attn.attention.bias", "transformer.h.0.attn.attention.masked_bias")),
        ("gpt_bigcode", ("transformer.h.0.attn.bias",)),
    ],
)
def test_files_with_the_causal_masks_of_older_versions_are_loaded(
    family: str, masks: tuple[str, ...], tmp_path: Path
) -> None:
    """As in those of openai-community/gpt2, whose names also lack the prefix `transformer`."""
    names = ("num_layers", "num_heads") if family == "gpt_neo" else ("n_layer", "n_head")
    shape: dict[str, Any] = {"vocab_size": 20, "hidden_size": 8, **dict.fromkeys(names, 2)}
    if family == "gpt_neo":
        shape["attention_types"] = [[["global", "local"], 1]]
    kept = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **shape))
    kept.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    if family == "gpt2":
        weights = {name.removeprefix("transformer."): weight for name, weight in weights.items()}
    weights |= {mask: torch.ones(1) for mask in masks}
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    loaded = load_seq2seq(str(tmp_path)).state_dict()
    assert all(torch.equal(loaded[name], weight) for name, weight in kept.state_dict().items())


def of_text_and_images(folder: Path) -> Any:
    """Writes a model with a vision part, as Gemma 3 has from 4B on, over the one that `make_causal_llm` writes."""
    make_causal_llm("gemma3_text", folder)
    text = AutoConfig.from_pretrained(folder)
    vision = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    parts = {"text_config": text.to_dict(), "vision_config": {**vision, "image_size": 28, "patch_size": 14}}
    ids = {"boi_token_index": 1, "eoi_token_index": 2, "image_token_index": 3, "mm_tokens_per_image": 4}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("gemma3", **parts, **ids)).eval()
    model.save_pretrained(folder)
    return model


def logits(model: Any, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(torch.tensor([ids])).logits  # type: ignore[no-any-return]


def test_of_a_model_that_also_reads_images_the_language_model_is_taken(tmp_path: Path) -> None:
    whole = of_text_and_images(tmp_path / "llm")
    model = load_seq2seq(str(tmp_path / "llm"))
    assert torch.equal(logits(model, [1, 5, 6]), logits(whole, [1, 5, 6]))
    model.save_pretrained(tmp_path / "saved")
    again = load_seq2seq(str(tmp_path / "saved"))
    assert again.config.model_type == "gemma3_text" and not [n for n, _ in again.named_parameters() if "vision" in n]
    assert torch.equal(logits(again, [1, 5, 6]), logits(whole, [1, 5, 6]))
    fresh = load_seq2seq(str(tmp_path / "llm"), pretrained=False)
    assert type(fresh) is type(again)


def test_of_a_model_that_also_reads_images_the_language_model_is_trimmed(tmp_path: Path) -> None:
    whole = of_text_and_images(tmp_path / "llm")
    report = trim_llm(str(tmp_path / "llm"), SENTENCES[:3], {}, tmp_path / "trimmed")
    model, old_ids = load_seq2seq(str(tmp_path / "trimmed")), read_json(tmp_path / "trimmed" / IDS_FILE)["old_ids"]
    assert len(old_ids) == report.vocab_after < report.vocab_before
    torch.testing.assert_close(logits(model, [2, 5]), logits(whole, [old_ids[2], old_ids[5]])[..., old_ids])


def test_a_model_whose_layers_look_up_tokens_is_refused(tmp_path: Path) -> None:
    """Gemma 3n: of embeddings alone it computes less than of tokens, without any error."""
    AutoConfig.for_model("gemma3n_text").save_pretrained(tmp_path)
    with pytest.raises(InputError, match="look up tokens in tables of their own"):
        load_seq2seq(str(tmp_path))


def test_a_padding_token_without_an_embedding_is_refused_and_trimming_adds_it(tmp_path: Path) -> None:
    make_causal_llm("llama", tmp_path / "llm")
    inner = load_tokenizer(str(tmp_path / "llm"), None).inner
    inner.add_special_tokens({"pad_token": "[PAD]"})
    inner.save_pretrained(tmp_path / "llm")
    with pytest.raises(InputError, match=r"special tokens \[PAD\], but the model has only"):
        load_seq2seq(str(tmp_path / "llm"), tokenizer=load_tokenizer(str(tmp_path / "llm"), None))
    trim_llm(str(tmp_path / "llm"), SENTENCES[:3], {}, tmp_path / "trimmed")
    tokenizer = load_tokenizer(str(tmp_path / "trimmed"), None)
    model = load_seq2seq(str(tmp_path / "trimmed"), tokenizer=tokenizer)
    assert tokenizer.pad != tokenizer.eos and tokenizer.pad < rows_of(model)
