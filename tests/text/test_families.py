"""The rows of the families, and that one more row is all that a new family takes."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoConfig, BlenderbotTokenizer, PreTrainedTokenizerFast

from slt_cache.checkpoints.named_files import content_of
from slt_cache.config import LlmPretrainingConfig, LoraConfig, load_config
from slt_cache.errors import InputError
from slt_cache.models.llm.load import load_seq2seq
from slt_cache.models.llm.lora import add_lora
from slt_cache.models.llm.small import make_of_shape, make_small
from slt_cache.models.translators import SignTranslator
from slt_cache.pipeline.fits_llm import language_problem, positions_of
from slt_cache.text.families import (
    FAMILIES,
    Family,
    likely_family,
    register,
    small_family,
    small_names,
    start_tokens,
)
from slt_cache.text.shapes import PublishedShape
from slt_cache.text.target_start import start_of_config
from slt_cache.text.tokenizer import load_tokenizer

SHAPE = LlmPretrainingConfig(layers=1, heads=2, hidden=32, feed_forward=64)
TINY = PublishedShape(layers=1, heads=2, hidden=32, feed_forward=64)


def start_of_pegasus(inner: object, name: str, language: str | None) -> tuple[int, ...]:
    return (7, 8)


@pytest.fixture
def pegasus(monkeypatch: pytest.MonkeyPatch) -> Family:
    """A family that the project does not have, for the length of a test."""
    row = replace(
        FAMILIES["bart"],
        name="pegasus",
        title="Pegasus",
        tokenizers=("Blenderbot",),
        model_types=("pegasus",),
        start=start_of_pegasus,
        lora_targets=("k_proj", "out_proj"),
        wants_language=True,
        endless=True,
        small={"max_position_embeddings": 48},
    )
    monkeypatch.setitem(FAMILIES, row.name, row)  # takes it out again
    return register(row)


def save(folder: Path, family: str) -> None:
    """A folder with a small model of a registered family, and a tokenizer without pieces of its own."""
    make_small(f"small-{family}", SHAPE, 60, 1, 2, 3).save_pretrained(folder)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: index for index, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", *alphabet])}
    BlenderbotTokenizer(vocab=vocab, merges=[]).save_pretrained(folder)


def test_a_registered_family_is_made_small_loaded_adapted_and_measured(pegasus: Family, tmp_path: Path) -> None:
    assert small_names() == ["small-mbart", "small-mt5", "small-pegasus"]
    save(tmp_path, "pegasus")
    config = AutoConfig.from_pretrained(tmp_path)
    assert (config.model_type, config.d_model, config.decoder_layers, config.decoder_start_token_id) == (
        "pegasus",
        32,
        1,
        3,
    )
    assert load_tokenizer(str(tmp_path), None).start == (7, 8)

    seq2seq = load_seq2seq(str(tmp_path))
    add_lora(seq2seq, LoraConfig(r=2))
    adapted = {name.split(".")[-2] for name, _ in seq2seq.named_modules() if name.endswith("base_layer")}
    assert adapted == {"k_proj", "out_proj"}
    logits = SignTranslator(4, seq2seq, (7, 8))(torch.randn(5, 4), torch.tensor([2, 3]), torch.tensor([[7, 8], [7, 8]]))
    assert logits.shape == (2, 2, 60)

    assert likely_family("google/pegasus-large") is pegasus
    assert make_of_shape(pegasus, TINY, 60).config.encoder_ffn_dim == 64
    assert positions_of("small-pegasus") == 48
    assert positions_of(str(tmp_path)) is None, "its positions have no end"
    assert content_of("small-pegasus") == "small-pegasus"
    asked = load_config("tsv", [f"llm.name={tmp_path}", "llm.language=null"])
    assert "needs one" in str(language_problem(asked))


def test_a_name_that_is_no_family_is_not_small_and_the_error_lists_what_there_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert small_family("small-pegasus") is small_family("small-bart") is None
    with pytest.raises(InputError, match=r"made here \(small-mbart, small-mt5, light-t\)"):
        load_seq2seq("small-pegasus")


@pytest.mark.parametrize("kind", ["bert", "vit", "whisper"])
def test_a_model_that_writes_no_text_is_refused_with_the_families(kind: str, tmp_path: Path) -> None:
    AutoConfig.for_model(kind).save_pretrained(tmp_path)
    refused = rf"model_type {kind}, which is neither an encoder-decoder nor .* Use a model of MBart, .* UMT5, another"
    with pytest.raises(InputError, match=refused):
        load_seq2seq(str(tmp_path))
    words = Tokenizer(models.WordLevel({"<unk>": 0}, unk_token="<unk>"))
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", eos_token="<unk>").save_pretrained(tmp_path)
    with pytest.raises(InputError, match=refused):
        load_tokenizer(str(tmp_path), None)


def test_an_encoder_decoder_without_a_row_begins_as_its_config_says(tmp_path: Path) -> None:
    AutoConfig.for_model("blenderbot", decoder_start_token_id=5).save_pretrained(tmp_path)
    inner = SimpleNamespace(added_tokens_encoder={})
    assert start_tokens(inner, str(tmp_path), "de") == start_of_config(inner, str(tmp_path), None) == (5,)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("facebook/mbart-large-cc25", "mbart"),
        ("google/mt5-base", "mt5"),
        ("t5-base", "t5"),
        ("facebook/nllb-200-distilled-600M", "nllb"),
        ("somebody/something", "mbart"),
        ("small-mt5", "mt5"),
    ],
)
def test_a_hub_name_that_is_not_here_is_estimated_by_the_family_that_it_names(
    name: str, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert likely_family(name).name == family
