"""`llm merge`: a stage 2 with LoRA becomes one without."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slt_cache import SignTranslator
from slt_cache.checkpoints.record import Record
from slt_cache.checkpoints.translator import load_llm, save_llm
from slt_cache.config import Config
from slt_cache.errors import InputError
from slt_cache.models import translators
from slt_cache.pipeline.merge_lora import merge_lora
from slt_cache.runs.run import Run
from slt_cache.text.tokenizer import Tokenizer
from tests.helpers.caches import spec_of
from tests.helpers.commands import TINY, slt_cache


def test_lora_through_the_commands(tmp_path: Path) -> None:
    run, out = tmp_path / "tiny", tmp_path / "merged"
    commands = (
        ("train-visual", "--config", TINY, "--set", "visual_training.epochs=1"),
        ("extract-features", "--split", "all"),
        ("train-llm", "--set", "llm.lora.r=2", "--set", "llm_training.lr=0.01"),
        ("llm", "merge", "--out", out),
    )
    for words in commands:
        ran = slt_cache(*words, "--run", run)
        assert ran.code == 0, (words, ran.err)
    assert (run / "llm" / "best" / "lora" / "adapter_model.safetensors").is_file()
    assert not (out / "lora").exists()
    features = np.random.default_rng(2).normal(size=(6, load_llm(run / "llm" / "best").spec.dim))
    apart, merged = (SignTranslator.from_pretrained(folder) for folder in (run / "llm" / "best", out))
    assert apart.translate([features]) == merged.translate([features])
    again = slt_cache("llm", "merge", "--out", out, "--run", run)
    assert (again.code, "already exists" in again.err) == (2, True)
    wrong = slt_cache("train-llm", "--restart", "--set", "llm.lora.targets=[nothing]", "--run", run)
    assert wrong.code == 2
    assert "Existing layers: fc1, fc2, k_proj, out_proj, q_proj, v_proj" in wrong.err


def test_what_is_there_is_not_replaced_and_a_model_without_lora_is_refused(
    tmp_path: Path, small_mbart: Any, tokenizer: Tokenizer
) -> None:
    run = Run(tmp_path / "run", Config())
    with pytest.raises(InputError, match=r"--out .*: already exists\. Use another folder\."):
        merge_lora(run, tmp_path)
    settings = {"features": spec_of().to_json(), "language": "de_DE", "llm": {"name": "small-mbart"}}
    model = translators.SignTranslator(spec_of().dim, small_mbart, tokenizer.start)
    save_llm(run.llm / "best", model, tokenizer, Record("stage 2", settings, finished=True))
    with pytest.raises(InputError, match=r"not trained with LoRA \(llm\.lora\)"):
        merge_lora(run, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
