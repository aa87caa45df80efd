"""A trained translator as a folder on its own: loaded anywhere, searched as it was, carded for the hub."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSeq2SeqLM

from slt_cache import SignTranslator
from slt_cache.checkpoints.record import Record
from slt_cache.checkpoints.translator import load_llm, save_llm
from slt_cache.config import LoraConfig
from slt_cache.errors import InputError
from slt_cache.features.spec import FeatureSpec
from slt_cache.hashes import require_whole
from slt_cache.models.llm.load import load_seq2seq
from slt_cache.models.llm.lora import add_lora
from slt_cache.models.saved import SavedTranslator
from slt_cache.reading import read_object
from slt_cache.text.tokenizer import load_tokenizer
from tests.helpers.small_causal_llms import make_causal_llm
from tests.helpers.small_llms import make_small_llm

DIM = 16
CODES = {"mbart": "de_DE", "mbart50": "de_DE", "t5": None, "bart": None}
SPEC = FeatureSpec("ab" * 32, "sign", DIM, "float16", "fp32", 0.25, 36, 32, "stretch", False, (0.5,), (0.2,), "decord")
SEARCH = {"num_beams": 3, "max_new_tokens": 9, "length_penalty": 0.5}
DEV = {"bleu1": 40.0, "bleu4": 12.34, "rouge_l": 39.0}


def record_of(family: str, **llm: Any) -> Record:
    return Record(
        "stage 2",
        {"features": SPEC.to_json(), "language": CODES[family], "llm": {"name": "facebook/mbart-large-cc25", **llm}},
        finished=True,
        best_epoch=3,
        dev=DEV,
        context={
            "corpus": "avatar",
            "scoring": {"preset": "plain", "final_dot": "keep", "lowercase": False},
            "generation": SEARCH,
        },
    )


def save(family: str, folder: Path, lora: LoraConfig | None = None, **search: Any) -> SignTranslator:
    """A run's llm/best with random weights."""
    make_small_llm(family, folder / "published")
    tokenizer = load_tokenizer(str(folder / "published"), CODES[family])
    model = SignTranslator(DIM, load_seq2seq(str(folder / "published")), tokenizer.start).eval()
    if lora is not None:
        add_lora(model.seq2seq, lora)
    record = record_of(family, lora=None if lora is None else lora.model_dump(mode="json"))
    record.context["generation"] = {**SEARCH, **search}
    save_llm(folder / "llm" / "best", model, tokenizer, record)
    shutil.rmtree(folder / "published")
    return model


def clips() -> list[np.ndarray]:
    random = np.random.default_rng(5)
    return [random.normal(size=(steps, DIM)).astype(np.float16) for steps in (4, 7, 2)]


def sentences_of(model: SignTranslator, tokenizer: Any, **search: Any) -> list[str]:
    """One clip at a time."""
    found = []
    for clip in clips():
        features, lengths = torch.from_numpy(clip).float(), torch.tensor([len(clip)])
        ids = model.generate(features, lengths, do_sample=False, **search).sequences[0, len(model.start) :]
        found.append(tokenizer.decode(ids.tolist()))
    return found


@pytest.mark.parametrize("family", list(CODES))
@pytest.mark.parametrize("beams", [1, 3])
def test_a_saved_translator_translates_as_it_did_before(family: str, beams: int, tmp_path: Path) -> None:
    model = save(family, tmp_path, num_beams=beams)
    loaded = SignTranslator.from_pretrained(tmp_path / "llm" / "best")
    assert not loaded.training
    search = {**SEARCH, "num_beams": beams}
    assert loaded.translate(clips()) == sentences_of(model, loaded.tokenizer, **search)
    assert loaded.translate(clips(), batch_size=1) == loaded.translate([torch.from_numpy(clip) for clip in clips()])
    assert loaded.translate([]) == []


@pytest.mark.parametrize("family", list(CODES))
def test_transformers_alone_searches_with_the_saved_settings_and_ids(family: str, tmp_path: Path) -> None:
    save(family, tmp_path)
    loaded = SignTranslator.from_pretrained(tmp_path / "llm" / "best")
    theirs = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "llm" / "best")
    settings = json.loads((tmp_path / "llm" / "best" / "generation_config.json").read_text(encoding="utf-8"))
    assert {name: settings[name] for name in SEARCH} == SEARCH
    first, *second = loaded.start
    assert settings["decoder_start_token_id"] == first
    assert settings.get("forced_bos_token_id") == (second[0] if second else None)
    features = torch.from_numpy(clips()[1]).float()
    embeds, mask = loaded.embed(features, torch.tensor([7]))
    tokens = SEARCH["max_new_tokens"] + len(second)  # a forced token counts as a new one there
    ids = theirs.generate(inputs_embeds=embeds, attention_mask=mask, max_new_tokens=tokens)[0].tolist()
    assert loaded.tokenizer.decode(ids) == loaded.translate([features])[0]


def test_it_says_what_it_was_made_of_and_how_well_it_did(tmp_path: Path) -> None:
    save("mbart", tmp_path)
    loaded = SignTranslator.from_pretrained(str(tmp_path / "llm" / "best"))
    assert loaded.about.encoder_sha256 == SPEC.encoder_sha256
    assert FeatureSpec.from_json(json.dumps(dict(loaded.about.features))) == SPEC
    assert loaded.about.dev == DEV
    assert loaded.about.generation == SEARCH
    assert loaded.tokenizer.language == "de_DE"
    assert asdict(load_llm(tmp_path / "llm" / "best").spec) == asdict(SPEC)


def test_a_copy_of_the_folder_translates_in_a_new_process_with_its_run_deleted(tmp_path: Path) -> None:
    lora = LoraConfig(r=2)
    save("mbart", tmp_path / "run", lora)
    loaded = SignTranslator.from_pretrained(tmp_path / "run" / "llm" / "best")
    with torch.no_grad():
        for name, weight in loaded.seq2seq.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight)
    save_llm(tmp_path / "run" / "llm" / "best", loaded, loaded.tokenizer, record_of("mbart", lora=lora.model_dump()))
    expected = loaded.translate(clips())
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(tmp_path / "run" / "llm" / "best", elsewhere / "model")
    shutil.rmtree(tmp_path / "run")
    np.savez(elsewhere / "clips.npz", *clips())
    program = (
        "import json, numpy\nfrom slt_cache import SignTranslator\n"
        "clips = numpy.load('clips.npz')\n"
        "print(json.dumps(SignTranslator.from_pretrained('model').translate([clips[n] for n in clips.files])))"
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=elsewhere, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == expected
    for file in elsewhere.rglob("*.json"):
        assert str(tmp_path) not in file.read_text(encoding="utf-8"), file


def weights_of(folder: Path) -> Path:
    return folder / "model.safetensors"


def changed_lora(folder: Path) -> SavedTranslator:
    """The translator in a folder, with other LoRA weights."""
    model = SignTranslator.from_pretrained(folder)
    for name, weight in model.seq2seq.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)
    return model


@pytest.mark.parametrize("family", ["mbart", "t5"])
def test_a_checkpoint_with_lora_writes_what_learned_and_links_the_frozen_llm(family: str, tmp_path: Path) -> None:
    lora = LoraConfig(r=2)
    save(family, tmp_path, lora)
    best, record = tmp_path / "llm" / "best", record_of(family, lora=lora.recorded())
    first = {path.relative_to(best): path.stat().st_ino for path in best.rglob("*") if path.is_file()}
    model = changed_lora(best)
    save_llm(best, model, model.tokenizer, record)
    written = [
        path for path in best.rglob("*") if path.is_file() and first[path.relative_to(best)] != path.stat().st_ino
    ]
    assert first[Path("model.safetensors")] == weights_of(best).stat().st_ino
    assert {"adapter.safetensors", "adapter_model.safetensors"} <= {path.name for path in written}
    assert read_object(best / "lora" / "base.json")["llm"] == "facebook/mbart-large-cc25"
    require_whole(best)
    assert SignTranslator.from_pretrained(best).translate(clips()) == model.translate(clips())


def test_other_or_damaged_weights_of_an_earlier_checkpoint_are_not_linked(tmp_path: Path) -> None:
    lora = LoraConfig(r=2)
    save("mbart", tmp_path, lora)
    best, record = tmp_path / "llm" / "best", record_of("mbart", lora=lora.recorded())
    model = changed_lora(best)
    expected = weights_of(best).read_bytes()
    damaged = bytearray(expected)
    damaged[-9] ^= 1
    weights_of(best).unlink()  # the loaded model maps it into memory
    weights_of(best).write_bytes(damaged)
    save_llm(best, model, model.tokenizer, record)
    assert weights_of(best).read_bytes() == expected
    before = weights_of(best).stat().st_ino
    other = changed_lora(best)
    with torch.no_grad():
        next(other.seq2seq.parameters())[0, 0] += 1
    save_llm(best, other, other.tokenizer, record)
    assert weights_of(best).stat().st_ino != before
    assert SignTranslator.from_pretrained(best).translate(clips()) == other.translate(clips())


def test_lora_without_its_llm_or_on_another_one_is_refused_in_a_line(tmp_path: Path) -> None:
    save("mbart", tmp_path, LoraConfig(r=2))
    best = tmp_path / "llm" / "best"
    weights_of(best).rename(tmp_path / "gone")
    with pytest.raises(InputError, match=r"model\.safetensors: missing; record\.json lists it"):
        SignTranslator.from_pretrained(best)
    (best / "record.json").unlink()  # as in a copy of the other files
    with pytest.raises(InputError, match=r"^[^\n]*model\.safetensors[^\n]*$"):
        SignTranslator.from_pretrained(best)
    tensors = load_file(tmp_path / "gone")
    name = next(name for name, tensor in tensors.items() if tensor.ndim == 2)
    save_file({**tensors, name: tensors[name] + 1}, weights_of(best), metadata={"format": "pt"})
    with pytest.raises(
        InputError, match=r"its LLM is not the one that LoRA was trained on \(facebook/mbart-large-cc25"
    ):
        SignTranslator.from_pretrained(best)
    save_file(tensors, weights_of(best), metadata={"format": "pt"})
    assert SignTranslator.from_pretrained(best).translate(clips())


def test_the_card_is_one_that_the_hub_reads(tmp_path: Path) -> None:
    save("mbart", tmp_path, LoraConfig(r=2))
    card = ModelCard.load(tmp_path / "llm" / "best" / "README.md")
    assert card.data.library_name == "slt-cache"
    assert card.data.language == ["de"]
    assert card.data.base_model == "facebook/mbart-large-cc25"
    assert card.data.license is None
    assert "lora" in card.data.tags
    for told in ("12.34", "preset `plain`", SPEC.encoder_sha256, "not sign language", "LoRA (rank 2", "num_beams 3"):
        assert str(told) in card.text
    [program] = re.findall(r"```python\n(.*?)```", card.text, re.S)
    compile(program, "card", "exec")


def test_the_card_names_the_kind_of_llm_and_the_variant_of_lora(tmp_path: Path) -> None:
    make_causal_llm("gpt2", tmp_path / "gpt2")
    tokenizer = load_tokenizer(str(tmp_path / "gpt2"), None)
    model = SignTranslator(DIM, load_seq2seq(str(tmp_path / "gpt2"), tokenizer=tokenizer), tokenizer.start)
    lora = LoraConfig(r=2, dora=True, rslora=True)
    add_lora(model.seq2seq, lora)
    save_llm(tmp_path / "best", model, tokenizer, record_of("t5", lora=lora.recorded()))
    card = (tmp_path / "best" / "README.md").read_text(encoding="utf-8")
    assert "decoder-only LLM `facebook/mbart-large-cc25` with rsDoRA (rank 2, alpha 16, on all linear layers)" in card
    assert "encoder-decoder" not in card


def test_the_card_names_no_path_of_the_machine(tmp_path: Path) -> None:
    model = save("t5", tmp_path)
    record = record_of("t5")
    record.settings["llm"]["name"] = str(tmp_path / "my-t5")
    save_llm(tmp_path / "best", model, load_tokenizer(str(tmp_path / "llm" / "best"), None), record)
    card = ModelCard.load(tmp_path / "best" / "README.md")
    assert "`my-t5`" in card.text
    assert str(tmp_path) not in card.content
    assert card.data.base_model is None
    assert card.data.language is None


def test_features_of_another_shape_are_refused(tmp_path: Path) -> None:
    save("t5", tmp_path)
    model = SignTranslator.from_pretrained(tmp_path / "llm" / "best")
    for wrong in (np.zeros((3, DIM + 1)), np.zeros(DIM), np.zeros((0, DIM))):
        with pytest.raises(InputError, match=r"clip 1: its features have shape .* expected \[N, 16\]"):
            model.translate([np.zeros((2, DIM)), wrong])


def test_what_is_no_saved_translator_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"neither the folder .* hf download nobody/no-such-model --local-dir"):
        SignTranslator.from_pretrained("nobody/no-such-model")
    with pytest.raises(InputError, match="neither the folder"):
        SignTranslator.from_pretrained(tmp_path / "runs" / "x" / "llm" / "best")
    save("t5", tmp_path)
    best = tmp_path / "llm" / "best"
    (best / "sign_translator.json").unlink()
    with pytest.raises(InputError, match=r"train-llm --restart$"):
        SignTranslator.from_pretrained(best)
    with pytest.raises(InputError, match=rf"train-llm --restart --run {re.escape(str(tmp_path))}$"):
        load_llm(best)
