"""`--dry-run` of trainings: what it will take, and nothing is written. And timings say that the machine is busy."""

import json
import math
import os
from pathlib import Path

import pytest

from slt_cache.device import under_load
from slt_cache.estimates import rates
from slt_cache.estimates.dry_run import dry_run
from slt_cache.runs.run import open_run
from tests.helpers.commands import TINY, slt_cache


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "ROUNDS", 1)
    monkeypatch.setattr(rates, "PIXELS", 8000)


@pytest.mark.parametrize(
    ("words", "epochs", "batch", "accumulate"),
    [
        ("train-visual", 2, 8, 1),
        ("train-visual --set visual_training.accumulate=2 --set visual_training.batch_size=3", 2, 3, 2),
        ("train-llm", 2, 16, 1),
        ("train-llm --set llm_training.unfreeze=all", 2, 16, 1),
        ("train-joint", 2, 16, 1),
        ("llm pretrain", 1, 512, 1),
    ],
)
def test_a_dry_run_counts_and_estimates_and_writes_nothing(
    tmp_path: Path, words: str, epochs: int, batch: int, accumulate: int
) -> None:
    run = tmp_path / "run"
    ran = slt_cache(*words.split(), "--config", TINY, "--run", run, "--dry-run", "--json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    items = found["clips"].get("train", found["clips"].get("sentences"))
    steps = math.ceil(math.ceil(items / batch) / accumulate)
    assert (found["epochs"], found["steps_per_epoch"], found["steps"]) == (epochs, steps, epochs * steps)
    assert sum(found["clips"].values()) >= 24
    assert min(found[figure] for figure in ("memory_gigabytes", "disk_gigabytes", "free_gigabytes")) > 0
    assert found["hours"] >= 0
    assert "measured on this device" in found["how"]
    assert not run.exists()


def test_what_quantization_requires_is_said_before_anything_is_measured(tmp_path: Path) -> None:
    asked = ("--set", "llm.lora.r=2", "--set", "llm.quantize=4bit", "--config", TINY, "--device", "cpu")
    for words in (("train-llm",), ("train-joint",), ("reproduce", "llms")):
        ran = slt_cache(*words, *asked, "--run", tmp_path / "run", "--dry-run")
        assert ran.code == 2
        assert ran.err.startswith("error: llm.quantize 4bit: requires ") and len(ran.err.splitlines()) == 1


def test_more_epochs_and_larger_frames_take_more(tmp_path: Path) -> None:
    more = ["visual_training.epochs=200", "video.size=128", "video.resize=128"]
    small, large = (dry_run(open_run(tmp_path / "r", str(TINY), settings), "train-visual") for settings in ([], more))
    assert (small.name, small.state, small.epochs, large.epochs) == ("stage 1", "new", 2, 200)
    assert large.seconds > small.seconds
    assert large.memory_bytes > small.memory_bytes


def test_a_dry_run_is_text_without_json_and_refuses_bad_input(tmp_path: Path) -> None:
    ran = slt_cache("train-visual", "--config", TINY, "--run", tmp_path / "r", "--dry-run")
    assert ran.code == 0, ran.err
    for word in ("clips", "steps", "hours", "memory", "disk", "measured on this device"):
        assert word in ran.out
    assert (
        slt_cache("train-visual", "--config", TINY, "--run", tmp_path / "r", "--dry-run", "--device", "abacus").code
        == 2
    )
    assert slt_cache("train-visual", "--run", tmp_path / "none", "--dry-run").code == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("train-llm", "--llm", "nonsense"), "llm.name nonsense: neither a model folder nor available from the hub"),
        (("train-visual", "--set", "llm.name=org/nonsense"), "llm.name org/nonsense: neither a model folder nor"),
        (("train-joint", "--set", "llm.name=."), "llm.name .: no model can be loaded from this folder"),
        (("llm", "pretrain", "--name", "x.gguf", "--objective", "causal"), "llm.name x.gguf: no such file"),
        (("train-llm", "--set", "encoder.name=nonsense"), "encoder.name nonsense: unknown. Choose one of resnet18"),
        (("train-visual", "--set", "encoder.weights=w.pth"), "encoder.weights w.pth: no such file"),
        (("train-llm", "--set", "llm.init_from=nonsense"), "llm.init_from nonsense: neither the folder of"),
    ],
)
def test_what_a_training_could_not_load_is_refused_by_its_dry_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = slt_cache(*words, "--config", TINY, "--run", "run", "--dry-run", "--set", "llm.language=de_DE")
    assert ran.code == 2 and says in ran.err and len(ran.err.splitlines()) <= 2, ran.err
    assert list(tmp_path.iterdir()) == []


def test_a_busy_machine_is_said_beside_timings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (99.0, 99.0, 99.0))
    assert "load average 99.0" in under_load(2)["under_load"]
    ran = slt_cache("train-visual", "--config", TINY, "--run", tmp_path / "r", "--dry-run")
    assert "load average 99.0" in ran.out
    monkeypatch.setattr(os, "getloadavg", lambda: (0.5, 0.5, 0.5))
    assert under_load() == {}
