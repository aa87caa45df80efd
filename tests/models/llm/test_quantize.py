"""Quantized LLMs: what is refused without package or GPU, and, with the package, that they learn and are saved.

bitsandbytes computes on a CPU too, which the program does not offer; the tests do, to run without a GPU."""

from importlib import util
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from slt_cache.config import LlmConfig, LoraConfig, load_config
from slt_cache.errors import InputError
from slt_cache.models.llm import quantize
from slt_cache.models.llm.load import load_seq2seq
from slt_cache.models.llm.lora import add_lora, base_weights
from slt_cache.models.llm.quantize import require_quantization
from slt_cache.models.saved import About, read_translator, write_translator
from slt_cache.models.translators import SignTranslator
from slt_cache.models.weights import frozen_state
from slt_cache.text.tokenizer import load_tokenizer
from tests.helpers.commands import slt_cache
from tests.helpers.imported_run import imported_cache, of_imported
from tests.helpers.small_causal_llms import make_causal_llm
from tests.helpers.small_llms import make_small_llm

DIM = 8
GPU = torch.device("cuda", 0)


def with_package(monkeypatch: pytest.MonkeyPatch, found: bool) -> None:
    monkeypatch.setattr(quantize, "find_spec", lambda _: object() if found else None)


def test_without_package_or_gpu_it_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    require_quantization(None, torch.device("cpu"))
    with_package(monkeypatch, False)
    with pytest.raises(InputError, match=r"llm\.quantize 4bit: .* bitsandbytes\. .*pip install 'bitsandbytes>="):
        require_quantization("4bit", GPU)
    with_package(monkeypatch, True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(
        InputError, match=r"llm\.quantize 8bit: requires a GPU .*this machine has none.*llm\.dtype=bfloat16"
    ):
        require_quantization("8bit")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    require_quantization("8bit", GPU)
    with pytest.raises(InputError, match=r"the device is cpu\. Use another machine or compute\.device"):
        require_quantization("8bit", torch.device("cpu"))


def test_stage_2_refuses_before_it_trains_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with_package(monkeypatch, True)
    make_causal_llm("llama", tmp_path / "llm")
    cache = imported_cache(tmp_path / "feats.h5", 6)
    settings = (f"llm.name={tmp_path / 'llm'}", "llm.lora.r=2", "llm.quantize=4bit")
    ran = slt_cache(*of_imported(tmp_path / "run", cache, *settings))
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "llm.quantize 4bit: requires a GPU" in ran.err
    assert not (tmp_path / "run" / "llm" / "last").exists()


def test_only_frozen_weights_are_quantized_and_the_record_names_it() -> None:
    with pytest.raises(InputError, match=r"quantize 8bit is for frozen weights, but without LoRA the whole LLM learns"):
        load_config("avatar", ["llm.quantize=8bit"])
    assert load_config("avatar", ["llm.quantize=4bit", "llm.lora.r=2"]).llm.recorded()["quantize"] == "4bit"
    assert "quantize" not in LlmConfig(lora=LoraConfig()).recorded()


@pytest.fixture
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    if util.find_spec("bitsandbytes") is None:
        pytest.skip("bitsandbytes is not installed")
    monkeypatch.setattr("bitsandbytes.nn.modules.has_avx512bf16", lambda: False)  # packs no layers as small as ours
    monkeypatch.setattr(quantize, "require_quantization", lambda *_: None)
    monkeypatch.setattr(quantize, "device_of_llm", lambda: torch.device("cpu"))


def train(model: SignTranslator, logits_of: Any) -> None:
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], 1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        logits_of(model).log_softmax(-1)[..., 5].mean().neg().backward()
        optimizer.step()


@pytest.mark.usefixtures("on_cpu")
@pytest.mark.parametrize("bits", ["8bit", "4bit"])
@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma3_text", "mbart", "t5"])
def test_a_quantized_llm_learns_by_lora_and_is_saved_as_it_is(family: str, bits: str, tmp_path: Path) -> None:
    folder, code = tmp_path / "llm", "de_DE" if family == "mbart" else None
    (make_small_llm if family in ("mbart", "t5") else make_causal_llm)(family, folder)
    tokenizer = load_tokenizer(str(folder), code)

    def logits_of(model: SignTranslator) -> torch.Tensor:
        features = torch.randn(7, DIM, generator=torch.Generator().manual_seed(3))
        targets = torch.tensor([[*model.start, 9, 8], [*model.start, 7, 6]])
        logits: torch.Tensor = model(features, torch.tensor([4, 3]), targets)
        return logits

    torch.manual_seed(0)
    whole = SignTranslator(DIM, load_seq2seq(str(folder), tokenizer=tokenizer), tokenizer.start).eval()
    model = SignTranslator(DIM, load_seq2seq(str(folder), tokenizer=tokenizer, quantize=bits), tokenizer.start).eval()
    model.adapter.load_state_dict(whole.adapter.state_dict())
    both = torch.stack([logits_of(one).float().flatten() for one in (model, whole)])
    assert 0.7 < torch.corrcoef(both)[0, 1] < 0.99999
    output = model.seq2seq.get_output_embeddings()
    plain = [name for name, one in model.seq2seq.named_modules() if type(one) is nn.Linear and one is not output]
    assert all(name.endswith(".wo") for name in plain) if family == "t5" else not plain

    add_lora(model.seq2seq, LoraConfig(r=2))
    base = {name: tensor.clone() for name, tensor in base_weights(model.seq2seq).items()}
    before = logits_of(model)
    train(model, logits_of)
    trained = logits_of(model)
    assert (trained - before).abs().max() > 1e-2
    assert {weight.dtype for weight in model.parameters() if weight.requires_grad} == {torch.float32}
    assert all(torch.equal(tensor, base[name]) for name, tensor in base_weights(model.seq2seq).items())
    learns = model.state_dict().keys() - frozen_state(model).keys()
    assert all("adapter" in name or ".lora_" in name or name.endswith("final_logits_bias") for name in learns)

    about = About(features={"encoder_sha256": "0" * 64, "dim": DIM}, language=code, llm="small")
    (tmp_path / "best").mkdir()
    write_translator(tmp_path / "best", model, tokenizer, about)
    loaded = read_translator(tmp_path / "best")
    assert torch.equal(logits_of(loaded), trained)
    (tmp_path / "again").mkdir()
    write_translator(tmp_path / "again", loaded, tokenizer, about)
    weights = [tmp_path / one / "model.safetensors" for one in ("best", "again")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert weights[0].stat().st_size < (folder / "model.safetensors").stat().st_size


@pytest.mark.usefixtures("on_cpu")
def test_an_llm_that_is_quantized_otherwise_is_refused(tmp_path: Path) -> None:
    make_causal_llm("llama", tmp_path / "llm")
    load_seq2seq(str(tmp_path / "llm"), quantize="8bit").save_pretrained(tmp_path / "quantized")
    with pytest.raises(InputError, match=r"its weights are quantized .*Use the unquantized model"):
        load_seq2seq(str(tmp_path / "quantized"), quantize="4bit")
    (tmp_path / "quantized" / "sign_translator.json").touch()
    with pytest.raises(InputError, match=r"llm\.quantize 4bit: .* is quantized to 8bit\. Set llm\.quantize=8bit\."):
        load_seq2seq(str(tmp_path / "quantized"), quantize="4bit")
    assert load_seq2seq(str(tmp_path / "quantized")).config.quantization_config.load_in_8bit
