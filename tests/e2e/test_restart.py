"""`--restart` and failed starts: bad input changes no file, and what has not trained binds nobody."""

import hashlib
from pathlib import Path

import pytest
import torch

from slt_cache.training import trackers
from tests.helpers.commands import TINY, slt_cache
from tests.helpers.small_llms import make_small_llm
from tests.helpers.tiny_run import succeed, train_tiny

SETTINGS = ("llm.language=de_DE", "visual_training.epochs=1", "llm_training.epochs=1")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of both stages, its clips, and files that no setting should name."""
    folder = tmp_path_factory.mktemp("trained")
    run = train_tiny(folder / "run", *SETTINGS)
    torch.save({"conv1.weight": torch.zeros(1)}, folder / "other.pt")
    torch.save([1, 2], folder / "list.pt")
    (folder / "broken.pt").write_bytes(b"PK\x03\x04 no")
    (folder / "empty.txt").write_text("\n")
    (folder / "lora").mkdir()
    (folder / "lora" / "adapter_config.json").write_text("{}")
    make_small_llm("mbart", folder / "mbart", ["ein satz", "noch einer"] * 20)
    return run


def contents(run: Path) -> dict[str, str]:
    """Relative path -> SHA-256 of every file; of folders that are empty too."""
    return {
        str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(run.rglob("*"))
    }


VISUAL = ("train-visual", "--restart")
LLM = ("train-llm", "--features", "feats.h5", "--restart")
JOINT = ("train-joint", "--restart")
PRETRAIN = ("llm", "pretrain", "--restart")
BAD = {
    "visual: no such GPU": (*VISUAL, "--device", "cuda:7"),
    "visual: no such device": (*VISUAL, "--device", "gpu"),
    "visual: fp16 on a CPU": (*VISUAL, "--device", "cpu", "--set", "compute.precision=fp16"),
    "visual: no such weights": (*VISUAL, "--set", "encoder.weights=nosuch.pt"),
    "visual: weights of something else": (*VISUAL, "--set", "encoder.weights={files}/other.pt"),
    "visual: weights that are a list": (*VISUAL, "--set", "encoder.weights={files}/list.pt"),
    "visual: broken weights": (*VISUAL, "--set", "encoder.weights={files}/broken.pt"),
    "visual: an encoder of stage 1": (*VISUAL, "--set", "encoder.weights={run}/visual/best/encoder.safetensors"),
    "visual: a tracker that is not installed": (*VISUAL, "--set", "compute.tracker=wandb"),
    "visual: a rate that gives NaN": (*VISUAL, "--set", "visual_training.lr=1e30"),
    "visual: too few characters": (*VISUAL, "--set", "llm_pretraining.vocabulary=16"),
    "visual: no such text": (*VISUAL, "--set", "llm_pretraining.text={files}/nosuch.txt"),
    "visual: empty text": (*VISUAL, "--set", "llm_pretraining.text={files}/empty.txt"),
    "visual: no such language": (*VISUAL, "--set", "llm.language=xx_XX"),
    "visual: no such LLM": (*VISUAL, "--set", "llm.name={files}/nosuch"),
    "visual: a corpus that is not there": (*VISUAL, "--set", "corpus.clips=999"),
    "visual: an unknown key": (*VISUAL, "--set", "visual_training.rate=1"),
    "llm: no such GPU": (*LLM, "--device", "cuda:7"),
    "llm: fp16 on a CPU": (*LLM, "--device", "cpu", "--set", "compute.precision=fp16"),
    "llm: no such cache": ("train-llm", "--features", "nosuch.h5", "--restart"),
    "llm: wrong LoRA targets": (*LLM, "--set", "llm.lora.targets=[nosuch]"),
    "llm: another tokenizer than stage 1": (*LLM, "--set", "llm_pretraining.vocabulary=90"),
    "llm: a tracker that is not installed": (*LLM, "--set", "compute.tracker=wandb"),
    "llm: rates that give NaN": (*LLM, "--set", "llm_training.lr=1e30", "--set", "llm_training.adapter_lr=1e30"),
    "llm: a translator of stage 2": (*LLM, "--set", "llm.name={run}/llm/best"),
    "llm: LoRA alone": (*LLM, "--set", "llm.name={files}/lora"),
    "llm: other feature level": (*LLM, "--set", "features.level=frame"),
    "unfreeze: no such GPU": ("train-llm", "--restart", "--set", "llm_training.unfreeze=all", "--device", "cuda:7"),
    "joint: no such weights": (*JOINT, "--set", "encoder.weights=nosuch.pt"),
    "joint: no such GPU": (*JOINT, "--device", "cuda:7"),
    "joint: wrong LoRA targets": (*JOINT, "--set", "llm.lora.targets=[nosuch]"),
    "pretrain: no such GPU": (*PRETRAIN, "--device", "cuda:7"),
    "pretrain: a rate that gives NaN": (
        *(*PRETRAIN, "--set", "llm_pretraining.lr=1e30", "--set", "llm_pretraining.epochs=9"),
        *("--set", "llm_pretraining.warmup_steps=0", "--set", "llm_pretraining.batch_size=4"),
    ),
    "pretrain: no such text": (*PRETRAIN, "--set", "llm_pretraining.text={files}/nosuch.txt"),
    "pretrain: another LLM": (*PRETRAIN, "--set", "llm.name=facebook/bart-base"),
    "pretrain: fewer pieces, and fp16 on a CPU": (
        *(*PRETRAIN, "--set", "llm_pretraining.vocabulary=90"),
        *("--device", "cpu", "--set", "compute.precision=fp16"),
    ),
}


SAYS = {
    "no such GPU": "compute.device 'cuda:7': this machine has none",
    "no such device": "compute.device 'gpu': no such kind of device",
    "fp16 on a CPU": "compute.precision fp16: not on a CPU",
    "fewer pieces, and fp16 on a CPU": "compute.precision fp16: not on a CPU",
    "no such weights": "encoder.weights nosuch.pt: no such file",
    "weights of something else": "other.pt: not the weights of encoder.backbone resnet18",
    "weights that are a list": "list.pt: not a state dict",
    "broken weights": "broken.pt: not a readable file of tensors",
    "an encoder of stage 1": "visual/best/encoder.safetensors: an encoder trained in stage 1",
    "a tracker that is not installed": "compute.tracker wandb: not installed",
    "a rate that gives NaN": "the loss became nan",
    "rates that give NaN": "the loss became nan",
    "too few characters": "llm_pretraining.vocabulary 16: too small: the text alone needs 26 tokens",
    "no such text": "nosuch.txt: there is no such file",
    "empty text": "empty.txt: the file is empty",
    "no such language": "llm.language: MBart has no code 'xx_XX'",
    "no such LLM": "nosuch: neither a model folder nor available from the hub",
    "a corpus that is not there": "corpus.clips: made with 24, asked for 999",
    "an unknown key": "unknown key visual_training.rate",
    "no such cache": "nosuch.h5: there is no such feature cache",
    "wrong LoRA targets": "llm.lora.targets: the LLM has no linear layer called nosuch",
    "another tokenizer than stage 1": "llm_pretraining.vocabulary: gives another tokenizer than stage 1",
    "a translator of stage 2": "llm/best: a translator trained in stage 2",
    "LoRA alone": "lora: only LoRA weights (adapter_config.json), not a whole LLM",
    "other feature level": "level: file sign, this run frame",
    "another LLM": "llm.name facebook/bart-base: only small-mbart and small-mt5 are pre-trained here",
}
"""What each kind of bad input is called in the error."""


@pytest.mark.parametrize("name", BAD)
def test_a_restart_with_bad_input_changes_no_file(trained: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    before = contents(trained)
    words = [word.format(run=trained, files=trained.parent) for word in BAD[name]]
    ran = slt_cache(*words, "--run", trained)
    assert ran.code == (1 if "NaN" in name else 2), ran.err
    said = ran.err.strip().splitlines()[-1]
    assert said.startswith("error: ") and len(said) < 800, ran.err
    assert SAYS[name.partition(": ")[2]] in said, said
    assert "Traceback" not in ran.err
    assert contents(trained) == before


def test_trimming_from_a_translator_or_onto_something_else_changes_no_file(trained: Path) -> None:
    before = contents(trained)
    text = ("--text", trained / "manifest.tsv")
    for name, out in ((trained / "llm" / "best", "new"), (trained.parent / "mbart", "visual"), ("nosuch", "new")):
        assert slt_cache("llm", "trim", "--name", name, *text, "--out", trained / out).code == 2
    assert contents(trained) == before


# --- failed starts


def test_a_failed_start_binds_no_later_one(tmp_path: Path) -> None:
    """Offline, the weights cannot be downloaded; the message advises others, which must then be taken."""
    run = tmp_path / "run"
    start = ("train-visual", "--run", run, "--config", TINY, "--set", "visual_training.epochs=1")
    refused = slt_cache(*start, "--set", "encoder.weights=nosuch.pt", "--set", "llm_pretraining.vocabulary=300")
    assert refused.code == 2
    assert not (run / "visual" / "last").exists() and not (run / "tokenizer").exists()
    assert not list(run.rglob("*.tmp"))
    succeed(*start, "--set", "encoder.weights=none")


def test_a_first_epoch_that_fails_binds_no_later_start(tmp_path: Path) -> None:
    start = ("train-visual", "--run", tmp_path / "run", "--config", TINY, "--set", "visual_training.epochs=1")
    failed = slt_cache(*start, "--set", "visual_training.lr=1e30")
    assert failed.code == 1
    assert "the loss became" in failed.err
    succeed(*start)
    assert succeed(*start, "--set", "visual_training.lr=1e-3").code == 0
