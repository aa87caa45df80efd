"""Stage 2 with a temporal module before the adapter, from the cache to the saved translator."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from slt_cache import SignTranslator
from slt_cache.checkpoints.translator import load_llm
from slt_cache.decoding.attention import word_attention
from tests.helpers.commands import slt_cache
from tests.helpers.imported_run import imported_cache, of_imported
from tests.helpers.killed import killed_after
from tests.helpers.small_llms import make_small_llm
from tests.models.test_saved import DIM, save

TEMPORAL = ("llm_training.temporal.kernel=3", "llm_training.temporal.stride=2", "llm_training.epochs=2")


@pytest.mark.slow
def test_a_killed_training_resumes_to_the_bit_and_its_folder_loads_and_begins_others(tmp_path: Path) -> None:
    make_small_llm("mbart", tmp_path / "llm")
    cache = imported_cache(tmp_path / "feats.h5", DIM)
    chosen = (f"llm.name={tmp_path / 'llm'}", "llm.trim=false", "llm_training.lr=0.01", *TEMPORAL)
    whole, killed = (of_imported(tmp_path / name, cache, *chosen) for name in ("whole", "killed"))
    assert slt_cache(*whole).code == 0
    with killed_after(3):
        slt_cache(*killed)
    ran = slt_cache(*killed)
    assert ran.code == 0 and "resumes" in ran.err, ran.err
    best, other = (tmp_path / name / "llm" / "best" for name in ("whole", "killed"))
    assert (best / "adapter.safetensors").read_bytes() == (other / "adapter.safetensors").read_bytes()
    assert load_file(best / "adapter.safetensors")["temporal.norm.running_var"].ne(1).all()
    assert json.loads((best / "sign_translator.json").read_text())["temporal"] == {"kernel": 3, "stride": 2}

    model, trained = SignTranslator.from_pretrained(best), load_llm(best)
    features = np.random.default_rng(2).normal(size=(7, DIM)).astype("float16")
    assert model.embed(torch.zeros(7, DIM), torch.tensor([7]))[1].tolist() == [[1, 1, 1, 1]]
    assert model.translate([features, features[:3]])[0] == trained.model.translate([features])[0]
    weights = word_attention(model, trained.tokenizer, features, "ein satz").weights
    assert weights.shape[1] == 7 and np.allclose(weights[:, 0], weights[:, 1])
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-5)

    still = ("llm_training.lr=1e-12", "llm_training.adapter_lr=1e-12", f"llm.init_from={best}")
    begun = slt_cache(*of_imported(tmp_path / "begun", cache, *TEMPORAL, *still))
    assert begun.code == 0, begun.err
    taken = load_file(tmp_path / "begun" / "llm" / "best" / "adapter.safetensors")
    trained_convolution = load_file(best / "adapter.safetensors")["temporal.conv.weight"]
    assert torch.allclose(taken["temporal.conv.weight"], trained_convolution)
    refused = slt_cache(*of_imported(tmp_path / "plain", cache, *still))
    assert refused.code == 2
    assert "adapter: temporal module of kernel 3 and stride 2 there, none here" in refused.err
    other_settings = slt_cache(*of_imported(tmp_path / "whole", cache, "llm_training.temporal=null"))
    assert other_settings.code == 2 and "temporal" in other_settings.err


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("llm_training.temporal.kernel=4",), "4 is even; only an odd kernel"),
        (("llm_training.temporal.stride=2", "llm_training.batch_size=1"), "clip 'train 0' has a single step for the"),
    ],
)
def test_what_has_no_middle_or_no_statistics_is_refused_before_training(
    settings: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    save("mbart", tmp_path / "other")
    cache = imported_cache(tmp_path / "feats.h5", DIM)
    begins = (f"llm.init_from={tmp_path / 'other' / 'llm' / 'best'}", "llm.init_without=[adapter]")
    ran = slt_cache(*of_imported(tmp_path / "run", cache, *begins, *settings))
    assert ran.code == 2 and said in ran.err, ran.err
    assert not (tmp_path / "run" / "llm" / "best").exists()
