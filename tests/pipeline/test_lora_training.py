"""Stage 2 with LoRA as a whole: what its checkpoints hold, and that it resumes to the bit, in any type of weights."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from slt_cache import SignTranslator
from slt_cache.checkpoints.record import read_record
from slt_cache.checkpoints.translator import load_llm
from slt_cache.config import load_config
from slt_cache.models.llm.load import load_seq2seq
from slt_cache.models.llm.lora import add_lora
from slt_cache.models.weights import parameters_of
from slt_cache.pipeline.train_from_cache import CacheStage
from slt_cache.text.prompt import with_prompt
from slt_cache.text.tokenizer import load_tokenizer
from slt_cache.training.state import STATE_FILE, TrainerState
from slt_cache.training.tasks.llm import FromCacheTask
from tests.helpers.commands import slt_cache
from tests.helpers.imported_run import imported_cache, of_imported
from tests.helpers.small_causal_llms import make_causal_llm
from tests.helpers.small_llms import make_small_llm
from tests.helpers.toy_training import Killed

DIM = 6
SETTINGS = ("llm.lora.r=2", "llm.lora.dropout=0.1", "llm_training.epochs=3", "llm_training.lr=0.01")


def weights_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*.safetensors")}


def killed_in_epoch(epoch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = FromCacheTask.batches

    def until(self: FromCacheTask, number: int, first: int = 0) -> Iterator[Any]:
        for place, batch in enumerate(batches(self, number, first), first):
            if (number, place) == (epoch, 1):
                raise Killed
            yield batch

    monkeypatch.setattr(FromCacheTask, "batches", until)


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("llama", ()),
        ("gpt2", ("llm.dtype=bfloat16", "llm_training.checkpointing=true", "llm.lora.dora=true")),
        ("mbart", ("llm.dtype=bfloat16", "llm.lora.rslora=true")),
    ],
)
def test_a_killed_training_resumes_to_the_bit_without_a_copy_of_the_llm(
    family: str, settings: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (make_small_llm if family == "mbart" else make_causal_llm)(family, tmp_path / "llm")
    cache = imported_cache(tmp_path / "feats.h5", DIM)
    chosen = (f"llm.name={tmp_path / 'llm'}", "llm.trim=false", *SETTINGS, *settings)
    whole, killed = (of_imported(tmp_path / name, cache, *chosen) for name in ("whole", "killed"))
    ran = slt_cache(*whole)
    assert ran.code == 0, ran.err
    with monkeypatch.context() as patched:
        killed_in_epoch(3, patched)
        with pytest.raises(Killed):
            slt_cache(*killed)
    last = tmp_path / "killed" / "llm" / "last"
    state = torch.load(last / STATE_FILE, weights_only=True)
    learn = ("adapter.", ".lora_", "final_logits_bias")  # the last is a buffer
    assert all(any(one in name for one in learn) for name in state["model"])
    assert {tensor.dtype for name, tensor in state["model"].items() if learn[2] not in name} == {torch.float32}
    ran = slt_cache(*killed)
    assert ran.code == 0, ran.err
    assert "resumes" in ran.err
    best = tmp_path / "whole" / "llm" / "best"
    assert weights_of(tmp_path / "killed" / "llm" / "best") == weights_of(best)
    record, model = read_record(best), load_llm(best).model
    assert record is not None and record.memory_bytes > 50 * 2**20
    of_lora = sum(weight.numel() for name, weight in model.named_parameters() if "adapter." in name or ".lora_" in name)
    assert record.parameters == {"trained": of_lora, "all": sum(weight.numel() for weight in model.parameters())}
    shutil.copytree(best, tmp_path / "copy")
    expected = load_llm(best).model
    shutil.rmtree(tmp_path / "whole")
    features = np.random.default_rng(2).normal(size=(6, DIM))
    copied = SignTranslator.from_pretrained(tmp_path / "copy")
    assert copied.translate([features]) == expected.translate([features])
    assert {weight.dtype for weight in copied.adapter.parameters()} == {torch.float32}


def test_every_checkpoint_after_the_first_writes_what_learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_causal_llm("llama", tmp_path / "llm")
    words = of_imported(
        tmp_path / "run",
        imported_cache(tmp_path / "feats.h5", DIM),
        f"llm.name={tmp_path / 'llm'}",
        "llm.trim=false",
        *SETTINGS,
    )
    saved: list[int] = []
    save = CacheStage.save_best

    def counted(stage: CacheStage, model: Any, epoch: int, dev: dict[str, float]) -> None:
        save(stage, model, epoch, dev)
        saved.append((stage.unfinished.best / "model.safetensors").stat().st_ino)

    monkeypatch.setattr(CacheStage, "save_best", counted)
    monkeypatch.setattr(TrainerState, "better", lambda *_: True)
    ran = slt_cache(*words)
    assert ran.code == 0, ran.err
    assert len(saved) == 3
    assert len(set(saved)) == 1
    assert (tmp_path / "run" / "llm" / "best" / "model.safetensors").stat().st_ino == saved[0]


def test_the_shipped_config_of_a_decoder_only_llm_fits_one_with_its_prompt_and_lora(tmp_path: Path) -> None:
    make_causal_llm("gemma3_text", tmp_path)
    config = load_config("gemma", [f"llm.name={tmp_path}"])
    tokenizer = with_prompt(load_tokenizer(str(tmp_path), None), config.llm)
    seq2seq = load_seq2seq(str(tmp_path), tokenizer=tokenizer)
    assert config.llm.lora is not None
    add_lora(seq2seq, config.llm.lora)
    model = SignTranslator(DIM, seq2seq, tokenizer.start, before=tokenizer.before)
    logits = model(torch.randn(5, DIM), torch.tensor([5]), torch.tensor([[*tokenizer.start, 5]]))
    assert logits.shape == (1, len(tokenizer.start) + 1, len(tokenizer))
    assert [tokenizer.inner.decode(ids) for ids in (tokenizer.before, tokenizer.start)] == [
        "Sign language: ",
        " Translation:",
    ]
    counts = parameters_of(seq2seq)
    assert 0 < counts["trained"] < counts["all"]
    assert (config.llm_training.lr, config.llm_training.adapter_lr, config.llm.lora.r) == (5e-4, 1e-3, 16)
