"""Several processes that torchrun starts train and score what one would: the same batches, loss curve and sentences."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from slt_cache.batches.order import EpochOrder, Share
from slt_cache.models.shared_norms import share_batch_norms
from slt_cache.processes import dealt, gathered, leader_first, leads, summed
from slt_cache.training.metrics_log import read_metrics
from tests.commands import TINY, slt_cache

LAUNCH = ["torch.distributed.run", "--standalone", "--nproc-per-node=2", "--redirects=3"]
EXIT_CODE = re.compile(r"exitcode\s*: (-?\d+)")


@dataclass(frozen=True)
class Team:
    """What became of two processes."""

    codes: set[int]
    """Other than 0"""
    out: list[str]
    err: list[str]
    """Of each process."""


def start(logs: Path, *arguments: str | Path) -> "subprocess.Popen[str]":
    words = [sys.executable, "-m", *LAUNCH, "--log-dir", str(logs), "-m", "slt_cache", "--", *map(str, arguments)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)


def said(logs: Path, stream: str) -> list[str]:
    return [path.read_text() for path in sorted(logs.glob(f"*/attempt_0/*/{stream}.log"))]


def finish(running: "subprocess.Popen[str]", logs: Path) -> Team:
    try:
        torchrun, _ = running.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, signal.SIGKILL)
        raise
    codes = {int(code) for code in EXIT_CODE.findall(torchrun)}
    assert bool(codes) == bool(running.returncode), torchrun
    return Team(codes, said(logs, "stdout"), said(logs, "stderr"))


def two(logs: Path, *arguments: str | Path) -> Team:
    return finish(start(logs, *arguments), logs)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one process."""
    run = tmp_path_factory.mktemp("alone") / "run"
    for arguments in (
        ["train-visual", "--config", TINY, "--run", run],
        ["extract-features", "--split", "all", "--run", run],
        ["train-llm", "--features", "feats.h5", "--run", run],
        ["eval", "--run", run],
    ):
        ran = slt_cache(*arguments)
        assert ran.code == 0, ran.err
    return run


@pytest.fixture
def together(alone: Path, tmp_path: Path) -> Path:
    """The same run, without stage 2."""
    run = tmp_path / "run"
    shutil.copytree(alone, run)
    shutil.rmtree(run / "llm" / "best")
    (run / "llm" / "metrics.jsonl").unlink()
    return run


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in read_metrics(folder / "metrics.jsonl") if line["kind"] == "epoch"]


def difference(one: Path, other: Path) -> float:
    """The largest, of all weights."""
    weights, others = load_file(one), load_file(other)
    return max(float((weights[name].float() - others[name].float()).abs().max()) for name in weights)


def record(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "best" / "training.json").read_text())
    return found


def test_stage_2_by_two_processes_is_stage_2_by_one(alone: Path, together: Path, tmp_path: Path) -> None:
    settings = ["--set", "llm_pretraining.dropout=0.0"]  # else each draws its own
    for run in (alone, together):
        shutil.rmtree(run / "llm", ignore_errors=True)
    assert slt_cache("train-llm", "--features", "feats.h5", "--run", alone, *settings).code == 0
    team = two(tmp_path / "logs", "train-llm", "--features", "feats.h5", "--run", together, *settings)
    assert not team.codes, team.err
    assert "effective batch 16 (2 processes x 8 clips); the paper's is 16" in team.err[0]
    for stage in ("llm/pretrained", "llm"):
        expected, found = losses(alone / stage), losses(together / stage)
        assert len(found) == len(expected) and np.allclose(found, expected, atol=1e-4), (stage, expected, found)
    assert difference(alone / "llm/best/model.safetensors", together / "llm/best/model.safetensors") < 1e-2
    assert record(together / "llm")["epochs"] == 2
    assert team.out[1] == "" and "stage 2" not in team.err[1] and "best of 2 epochs" in team.out[0]
    assert not list(together.rglob("*.tmp")) and not (together / "llm" / "last").exists()


def test_stage_1_by_two_processes_is_stage_1_by_one(tmp_path: Path, alone: Path) -> None:
    settings = ["--set", "light_t.dropout=0.0", "--set", "visual_training.batch_size=4"]
    assert slt_cache("train-visual", "--config", TINY, "--run", tmp_path / "one", *settings).code == 0
    team = two(tmp_path / "logs", "train-visual", "--config", TINY, "--run", tmp_path / "two", *settings)
    assert not team.codes, team.err
    expected, found = losses(tmp_path / "one" / "visual"), losses(tmp_path / "two" / "visual")
    assert np.allclose(found, expected, atol=1e-2), (expected, found)
    assert "effective batch 4 (2 processes x 2 clips); the paper's is 8" in team.err[0]
    assert team.out[1] == "" and "epoch 1" in team.err[0] and "epoch" not in team.err[1]


@pytest.mark.parametrize("features", ["cache", "video"])
def test_two_processes_score_every_clip_once(alone: Path, tmp_path: Path, features: str) -> None:
    run = tmp_path / "run"
    shutil.copytree(alone, run)
    small = ["--set", "generation.batch_size=2"]
    model = ["--model", "llm" if (alone / "llm" / "best").exists() else "visual"]
    if features == "video":
        (alone / "feats.h5").rename(tmp_path / "feats.h5")
        (run / "feats.h5").unlink()
    try:
        ran = slt_cache("eval", "--split", "train", "--run", alone, *model, *small)
        team = two(tmp_path / "logs", "eval", "--split", "train", "--run", run, *model, *small)
    finally:
        if features == "video":
            (tmp_path / "feats.h5").rename(alone / "feats.h5")
    assert ran.code == 0 and not team.codes, (ran.err, team.err)
    name = "train" if model[1] == "llm" else "visual.train"
    table, expected = ((folder / "eval" / f"{name}.tsv").read_text() for folder in (run, alone))
    assert table == expected and len(set(table.splitlines())) == len(table.splitlines())
    scores, others = (json.loads((folder / "eval" / f"{name}.json").read_text())["scores"] for folder in (run, alone))
    assert scores == others
    assert team.out[0] and team.out[1] == ""


def test_a_loss_that_is_not_finite_ends_all_processes(together: Path, tmp_path: Path) -> None:
    wild = ["--set", "llm_training.lr=1e30", "--set", "llm_training.batch_size=4"]
    team = two(tmp_path / "logs", "train-llm", "--features", "feats.h5", "--run", together, *wild)
    assert team.codes == {1}, team
    assert "the loss became" in team.err[0] and "error:" not in team.err[1] and "Traceback" not in "".join(team.err)


def test_what_is_wrong_is_said_once(together: Path, tmp_path: Path) -> None:
    small = ["--set", "llm_training.batch_size=1"]
    team = two(tmp_path / "logs", "train-llm", "--features", "feats.h5", "--run", together, *small)
    assert team.codes == {2}
    assert "batch_size 1: it is shared by all 2 processes" in team.err[0] and "error:" not in team.err[1]


@pytest.mark.slow
def test_ctrl_c_ends_all_processes_and_they_go_on(together: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(together, whole)
    words = ["train-llm", "--features", "feats.h5", "--set", "llm_training.epochs=8", "--set", "compute.save_minutes=0"]
    assert not two(tmp_path / "logs-whole", *words, "--run", whole).codes
    running = start(tmp_path / "logs", *words, "--run", together)
    ends = time.monotonic() + 60
    while "epoch 2" not in "".join(said(tmp_path / "logs", "stderr")) and time.monotonic() < ends:
        time.sleep(0.01)
    os.killpg(running.pid, signal.SIGINT)
    team = finish(running, tmp_path / "logs")
    assert team.codes == {130}, team
    assert "saved in" in team.err[0] and (together / "llm" / "last" / "state.pt").is_file()
    assert "Traceback" not in "".join(team.err)
    again = two(tmp_path / "logs-again", *words, "--run", together)
    assert not again.codes and "goes on" in again.err[0]
    assert losses(together / "llm") == losses(whole / "llm")
    assert difference(whole / "llm/best/model.safetensors", together / "llm/best/model.safetensors") == 0


@pytest.mark.parametrize("clips", [23, 24, 25])
def test_the_shares_of_all_processes_are_the_batches_of_one(clips: int) -> None:
    whole = EpochOrder(clips, 4, seed=1, shuffle=True, lengths=list(range(clips)))
    orders = [
        EpochOrder(clips, 4, seed=1, shuffle=True, lengths=list(range(clips)), share=Share(n, 3)) for n in range(3)
    ]
    idle = [order.idle() for order in orders]
    for number, (batch, *shares) in enumerate(zip(whole, *orders, strict=True)):
        counted = [item for rank, share in enumerate(shares) if number not in idle[rank] for item in share]
        assert sorted(counted) == sorted(batch) and all(shares)


def test_a_process_that_is_alone_waits_for_nobody() -> None:
    assert (
        leads() and summed([1.0, 2.0]) == [1.0, 2.0] and gathered(lambda: [3]) == [3] and leader_first(lambda: 4) == 4
    )
    assert dealt([1, 2, 3], at_once=2) == [1, 2, 3]
    with pytest.raises(ValueError, match="mine"):
        summed([], ValueError("mine"))


def test_shared_batch_norms_keep_names_and_kinds() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Flatten(2), nn.BatchNorm1d(4))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    pictures = torch.rand(2, 3, 4, 4)
    expected = model.eval()(pictures)
    assert share_batch_norms(model) == 2
    assert torch.equal(model(pictures), expected)  # scoring needs nobody else
    assert model.state_dict().keys() == before.keys()
    assert isinstance(model[1], nn.BatchNorm2d) and isinstance(model[3], nn.BatchNorm1d)
