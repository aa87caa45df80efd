"""LoRA in every family of LLMs: what it changes, what learns, and how it is saved and merged."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from peft.tuners.lora import LoraLayer
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

from slt_cache.config import LlmConfig, LoraConfig, load_config
from slt_cache.errors import InputError
from slt_cache.models import saved
from slt_cache.models.llm.load import load_seq2seq
from slt_cache.models.llm.lora import add_lora, base_weights, has_lora, merge_lora
from slt_cache.models.saved import About, read_translator, write_translator
from slt_cache.models.translators import SignTranslator
from slt_cache.text.tokenizer import Tokenizer, load_tokenizer
from slt_cache.training.tasks.llm import FromCacheTask
from tests.helpers.small_causal_llms import CAUSAL_FAMILIES, make_causal_llm
from tests.helpers.small_llms import FAMILIES, WIDTH, make_small_llm

DIM, RANK = 16, 4
CODES = {"mbart": "de_DE", "mbart50": "de_DE", "nllb": "deu_Latn", "m2m100": "de"}
ABOUT = About(features={"encoder_sha256": "0" * 64, "dim": DIM}, language=None, llm="small")
Make = Callable[..., tuple[SignTranslator, Tokenizer]]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {family: tmp_path_factory.mktemp("llms") / family for family in (*FAMILIES, *CAUSAL_FAMILIES)}


@pytest.fixture
def make(folders: dict[str, Path]) -> Make:
    def made(family: str, dtype: torch.dtype = torch.float32) -> tuple[SignTranslator, Tokenizer]:
        if not folders[family].exists():
            (make_causal_llm if family in CAUSAL_FAMILIES else make_small_llm)(family, folders[family])
        tokenizer = load_tokenizer(str(folders[family]), CODES.get(family))
        seq2seq = load_seq2seq(str(folders[family]), tokenizer=tokenizer, dtype=dtype)
        return SignTranslator(DIM, seq2seq, tokenizer.start).eval(), tokenizer

    return made


def logits_of(model: SignTranslator) -> torch.Tensor:
    features = torch.randn(7, DIM, generator=torch.Generator().manual_seed(3))
    targets = torch.tensor([[*model.start, 9, 8], [*model.start, 7, 6]])
    logits: torch.Tensor = model(features, torch.tensor([4, 3]), targets)
    return logits


def train(model: SignTranslator, steps: int = 3) -> None:
    """The task's own optimizer, on a loss of no meaning."""
    task = FromCacheTask(
        "lora",
        model,
        [],  # type: ignore[arg-type]
        lr=1e-2,
        adapter_lr=1e-2,
        weight_decay=0.1,
        evaluate=dict,
        save_best=lambda epoch, dev: None,
    )
    optimizer = task.optimizer()
    for _ in range(steps):
        optimizer.zero_grad()
        logits_of(model).log_softmax(-1)[..., 5].mean().neg().backward()
        optimizer.step()


def about_of(family: str) -> About:
    return About(ABOUT.features, CODES.get(family), family)


@pytest.mark.parametrize("family", [*FAMILIES, *CAUSAL_FAMILIES])
def test_lora_alone_learns_is_saved_apart_and_merges_into_the_same_model(
    family: str, make: Make, tmp_path: Path
) -> None:
    model, tokenizer = make(family)
    before = logits_of(model)
    weights = {name: tensor.clone() for name, tensor in model.seq2seq.state_dict().items()}
    add_lora(model.seq2seq, LoraConfig(r=RANK))
    torch.testing.assert_close(logits_of(model), before)

    learnt = [name for name, weight in model.seq2seq.named_parameters() if weight.requires_grad]
    assert all(".lora_" in name for name in learnt)
    if family in FAMILIES:
        # 2 layers: 2 attentions of the encoder, 4 of the decoder; in each q and v, of each A and B
        assert sum(model.seq2seq.get_parameter(name).numel() for name in learnt) == 6 * 2 * 2 * RANK * WIDTH

    train(model)
    for name, tensor in base_weights(model.seq2seq).items():
        assert torch.equal(tensor, weights[name]), name
    assert all(weight.grad is None for weight in model.seq2seq.parameters() if not weight.requires_grad)
    trained = logits_of(model)
    assert (trained - before).abs().max() > 1e-2
    saved_and_merged(family, model, tokenizer, tmp_path)


def saved_and_merged(family: str, model: SignTranslator, tokenizer: Tokenizer, folder: Path) -> None:
    trained = logits_of(model)
    write_translator(folder / "apart", model, tokenizer, about_of(family))
    loaded = read_translator(folder / "apart")
    assert torch.equal(logits_of(loaded), trained)
    merge_lora(loaded.seq2seq)
    assert not has_lora(loaded.seq2seq)
    write_translator(folder / "merged", loaded, tokenizer, about_of(family))
    assert not (folder / "merged" / "lora").exists()
    torch.testing.assert_close(logits_of(read_translator(folder / "merged")), trained, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", CAUSAL_FAMILIES)
def test_a_decoder_only_llm_is_adapted_in_all_linear_layers_but_the_output_layer(family: str, make: Make) -> None:
    model, _ = make(family)
    matrices = {
        name
        for name, weight in model.seq2seq.named_parameters()
        if weight.ndim == 2 and not any(words in name for words in ("embed", "wte", "wpe", "lm_head"))
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        add_lora(model.seq2seq, LoraConfig(r=RANK))
    adapted = {name for name, _ in model.seq2seq.named_parameters() if ".base_layer.weight" in name}
    assert {name.replace(".base_layer", "") for name in adapted} == matrices
    assert model.seq2seq.peft_config["default"].task_type == "CAUSAL_LM"


@pytest.mark.parametrize("family", ["mbart", "t5", "gpt2", "llama"])
@pytest.mark.parametrize("variant", [{"dora": True}, {"rslora": True}, {"dora": True, "rslora": True}])
def test_variants_of_lora_learn_are_saved_and_merged(
    family: str, variant: dict[str, bool], make: Make, tmp_path: Path
) -> None:
    model, tokenizer = make(family)
    before = logits_of(model)
    settings = LoraConfig(r=RANK, alpha=8, **variant)
    add_lora(model.seq2seq, settings)
    torch.testing.assert_close(logits_of(model), before)
    layer = next(module for module in model.seq2seq.modules() if isinstance(module, LoraLayer))
    assert layer.scaling["default"] == pytest.approx(8 / RANK ** (0.5 if settings.rslora else 1))
    lengths = {name: one.clone() for name, one in model.seq2seq.named_parameters() if "magnitude" in name}
    assert bool(lengths) == settings.dora
    train(model)
    trained = dict(model.seq2seq.named_parameters())
    assert all((trained[name] - one).abs().max() > 1e-3 for name, one in lengths.items())
    assert (logits_of(model) - before).abs().max() > 1e-2
    saved_and_merged(family, model, tokenizer, tmp_path)


def test_variants_that_are_off_leave_records_as_they_were() -> None:
    assert LlmConfig(lora=LoraConfig()).recorded()["lora"] == {"r": 8, "alpha": 16, "dropout": 0.0, "targets": None}
    assert LlmConfig(lora=LoraConfig(dora=True)).recorded()["lora"]["dora"] is True


@pytest.mark.parametrize("family", [*FAMILIES, *CAUSAL_FAMILIES])
def test_frozen_weights_in_bfloat16_are_half_as_large_and_what_learns_is_float32(
    family: str, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = make(family)
    torch.manual_seed(0)
    model, tokenizer = make(family, torch.bfloat16)
    whole.adapter.load_state_dict(model.adapter.state_dict())
    expected, found = logits_of(whole), logits_of(model)
    assert (found.float() - expected).abs().max() < 0.15 * expected.std()
    add_lora(model.seq2seq, LoraConfig(r=RANK, dora=family in ("mbart", "llama")))
    base = {name: tensor.clone() for name, tensor in base_weights(model.seq2seq).items()}
    assert {tensor.dtype for tensor in base.values()} == {torch.bfloat16}
    assert {weight.dtype for weight in model.parameters() if weight.requires_grad} == {torch.float32}
    train(model)
    assert all(torch.equal(tensor, base[name]) for name, tensor in base_weights(model.seq2seq).items())
    trained = logits_of(model)
    assert (trained - found).abs().max() > 1e-2

    write_translator(tmp_path / "apart", model, tokenizer, about_of(family))
    loaded = read_translator(tmp_path / "apart")
    weights = {name: weight.dtype for name, weight in model.named_parameters()}
    assert {name: weight.dtype for name, weight in loaded.named_parameters()} == weights
    assert torch.equal(logits_of(loaded), trained)
    features, lengths = torch.randn(5, DIM), torch.tensor([3, 2])
    search: dict[str, Any] = {"num_beams": 3, "max_new_tokens": 6, "do_sample": False}
    ids = model.generate(features, lengths, **search).sequences
    assert torch.equal(loaded.generate(features, lengths, **search).sequences, ids)

    merge_lora(model.seq2seq)
    write_translator(tmp_path / "merged", model, tokenizer, about_of(family))
    merged = read_translator(tmp_path / "merged")
    assert {weight.dtype for weight in merged.parameters()} == {torch.float32}
    monkeypatch.setattr(saved, "dtype_of", lambda _: torch.float32)
    (tmp_path / "apart" / "lora" / "base.json").unlink()  # it has the hash of the weights in bfloat16
    in_float32 = logits_of(read_translator(tmp_path / "apart"))
    torch.testing.assert_close(logits_of(merged), in_float32, atol=1e-5, rtol=1e-5)


def test_weights_that_learn_are_never_rounded() -> None:
    with pytest.raises(InputError, match=r"dtype bfloat16 is for frozen weights.* Set llm\.lora\.r=16, or"):
        load_config("avatar", ["llm.dtype=bfloat16"])
    settings = load_config("avatar", ["llm.dtype=bfloat16", "llm.lora.r=4"]).llm
    assert settings.recorded()["dtype"] == "bfloat16"
    assert "dtype" not in LlmConfig(lora=LoraConfig()).recorded()


def test_the_saved_folder_is_the_base_model_and_an_adapter_of_peft(make: Make, tmp_path: Path) -> None:
    model, tokenizer = make("mbart")
    weights = {name: tensor.clone() for name, tensor in model.seq2seq.state_dict().items()}
    add_lora(model.seq2seq, LoraConfig(r=RANK))
    train(model)
    write_translator(tmp_path / "best", model, tokenizer, about_of("mbart"))
    base = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "best")
    assert base.state_dict().keys() == weights.keys()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in base.state_dict().items())
    ids = torch.tensor([[5, 6, 7]])
    theirs = peft.PeftModel.from_pretrained(base, str(tmp_path / "best" / "lora")).eval()
    torch.testing.assert_close(
        theirs(input_ids=ids, decoder_input_ids=ids).logits, model.seq2seq(input_ids=ids, decoder_input_ids=ids).logits
    )


@pytest.mark.parametrize("family", ["mbart", "t5", "gpt2", "llama"])
def test_beam_search_goes_through_lora(family: str, make: Make, tmp_path: Path) -> None:
    model, _tokenizer = make(family)
    add_lora(model.seq2seq, LoraConfig(r=RANK))
    train(model)
    features, lengths = torch.randn(5, DIM), torch.tensor([3, 2])
    found = model.generate(features, lengths, num_beams=3, max_new_tokens=6).sequences
    merge_lora(model.seq2seq)
    assert torch.equal(model.generate(features, lengths, num_beams=3, max_new_tokens=6).sequences, found)


def test_targets_that_match_nothing_are_refused_with_the_layers_that_there_are(make: Make) -> None:
    model, _ = make("mbart")
    with pytest.raises(InputError, match=r"no linear layer called query\. Existing layers: fc1, fc2, k_proj, out_proj"):
        add_lora(model.seq2seq, LoraConfig(targets=("q_proj", "query")))
    assert not has_lora(model.seq2seq)
    add_lora(model.seq2seq, LoraConfig(r=RANK, targets=("fc1",)))
    adapted = {name.split(".")[-2] for name, module in model.seq2seq.named_modules() if name.endswith("base_layer")}
    assert adapted == {"fc1"}


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("llm.lora.r=16", {"r": 16, "alpha": 16}),
        ("llm.lora={r: 4, alpha: 4}", {"r": 4, "alpha": 4}),
        ("llm.lora={}", {}),
    ],
)
def test_one_setting_turns_lora_on(setting: str, expected: dict[str, Any], tmp_path: Path) -> None:
    saved = tmp_path / "config.yaml"
    saved.write_text("llm:\n  lora: null\n", encoding="utf-8")
    for source in ("avatar", str(saved)):
        assert load_config(source, [setting]).llm.lora == LoraConfig(**expected)
    assert load_config(str(saved)).llm.lora is None


def test_settings_of_lora_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InputError, match=r"unknown key llm\.lora\.rank; did you mean|known keys: r, alpha"):
        load_config("avatar", ["llm.lora.rank=3"])
    with pytest.raises(InputError, match="LoRA would freeze random weights"):
        load_config("avatar", ["llm.lora.r=3", "llm.pretrained=false"])


@pytest.mark.parametrize("kind", ["llama4_text", "phimoe", "mixtral"])
def test_experts_in_one_tensor_and_their_routers_are_not_adapted_which_one_line_says(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    shape: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "head_dim": 8}
    shape |= {"intermediate_size": 8, "intermediate_size_mlp": 8, "num_key_value_heads": 1, "num_local_experts": 2}
    ids = {"vocab_size": 20, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **shape, **ids))
    whole = sum(weight.numel() for weight in model.parameters())
    fused = sum(weight.numel() for weight in model.parameters() if weight.ndim == 3)
    with caplog.at_level("INFO"):
        add_lora(model, LoraConfig(r=2))
    said = "experts' fused weights are not adapted (down_proj, gate_up_proj: "
    assert f"{said}{fused / 1e6:.1f} of {whole / 1e6:.1f} M parameters)" in caplog.text
    model(inputs_embeds=torch.randn(1, 5, 16)).logits.sum().backward()
    adapted = {name.split(".lora_")[0] for name, weight in model.named_parameters() if weight.grad is not None}
    assert {"q_proj", "o_proj"} <= {name.rpartition(".")[2] for name in adapted}
    assert not any("router" in name or "experts" in name for name in adapted)
    merge_lora(model)
    assert not has_lora(model)


def test_layers_that_peft_refuses_are_one_line() -> None:
    config = AutoConfig.for_model("mamba", vocab_size=20, hidden_size=8, num_hidden_layers=1, state_size=2)
    with pytest.raises(InputError, match=r"llm\.lora\.targets: .*out_proj.* Set other layers\."):
        add_lora(AutoModelForCausalLM.from_config(config), LoraConfig(r=2))
