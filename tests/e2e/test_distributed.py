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

import numpy as np
import pytest
from safetensors.torch import load_file

from slt_cache.batches.sampler import EpochOrder, Shard
from slt_cache.distributed.processes import all_reduce_sum, gather_object, is_main_process, main_process_first, shard
from slt_cache.training.logs import read_metrics
from tests.helpers.commands import TINY, slt_cache
from tests.helpers.team import start_team

LAUNCH = ["torch.distributed.run", "--standalone", "--redirects=3"]
EXIT_CODE = re.compile(r"exitcode\s*: (-?\d+)")


@dataclass(frozen=True)
class WorkQueue:
    """What became of two processes."""

    code: int
    """Of torchrun: 1 for whatever went wrong."""
    codes: set[int]
    """Of the processes, other than 0, as torchrun tells them; where it is stopped itself it does not."""
    out: list[str]
    err: list[str]
    """Of each process."""


def start(logs: Path, *arguments: object, module: str = "slt_cache", processes: int = 2) -> "subprocess.Popen[str]":
    launch = [sys.executable, "-m", *LAUNCH, f"--nproc-per-node={processes}", "--log-dir", str(logs)]
    words = [*launch, "-m", module, "--", *map(str, arguments)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)


def said(logs: Path, stream: str) -> list[str]:
    return [path.read_text() for path in sorted(logs.glob(f"*/attempt_0/*/{stream}.log"))]


def wait_for(logs: Path, words: str) -> None:
    """Until any of the processes has said so."""
    ends = time.monotonic() + 60
    while words not in "".join(said(logs, "stderr")):
        assert time.monotonic() < ends, said(logs, "stderr")
        time.sleep(0.01)


def signal_last(running: "subprocess.Popen[str]", number: signal.Signals) -> None:
    """To the last of the processes alone."""
    children = subprocess.run(["pgrep", "-P", str(running.pid)], capture_output=True, text=True).stdout.split()
    os.kill(int(children[-1]), number)


def finish(running: "subprocess.Popen[str]", logs: Path) -> WorkQueue:
    try:
        torchrun, _ = running.communicate(timeout=300)
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, signal.SIGKILL)
        raise
    codes = {int(code) for code in EXIT_CODE.findall(torchrun)}
    return WorkQueue(running.returncode, codes, said(logs, "stdout"), said(logs, "stderr"))


def two(logs: Path, *arguments: object) -> WorkQueue:
    """By torchrun."""
    return finish(start(logs, *arguments), logs)


def forked(logs: Path, *arguments: object, processes: int = 2) -> WorkQueue:
    """As by torchrun, from a process that has loaded the library already."""
    codes = start_team(logs, list(map(str, arguments)), processes)
    return WorkQueue(int(any(codes)), set(codes) - {0}, said(logs, "stdout"), said(logs, "stderr"))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one process, without dropout, which several draw each for itself."""
    stage_1 = ["visual_training.batch_size=4", "visual_training.epochs=1"]
    calm = ["light_t.dropout=0.0", "llm_pretraining.dropout=0.0", *stage_1]
    run = tmp_path_factory.mktemp("alone") / "run"
    for arguments in (
        ["train-visual", "--config", TINY, "--run", run, *(word for one in calm for word in ("--set", one))],
        ["extract-features", "--split", "all", "--run", run],
        ["train-llm", "--features", "feats.h5", "--run", run],
        ["eval", "--run", run],
    ):
        ran = slt_cache(*arguments)
        assert ran.code == 0, ran.err
    return run


@pytest.fixture
def together(alone: Path, tmp_path: Path) -> Path:
    """The same run, in which stage 2 is to be trained anew."""
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


def test_stage_2_by_two_processes_is_stage_2_by_one(alone: Path, together: Path, tmp_path: Path) -> None:
    shutil.rmtree(together / "llm")  # the pre-trained MBart too
    team = two(tmp_path / "logs", "train-llm", "--features", "feats.h5", "--run", together)
    assert team.code == 0, team
    assert "effective batch 16 (2 processes x 8 clips); the paper's is 16" in team.err[0]
    for stage in ("llm/pretrained", "llm"):
        expected, found = losses(alone / stage), losses(together / stage)
        assert len(found) == len(expected) and np.allclose(found, expected, atol=1e-4), (stage, expected, found)
    assert difference(alone / "llm/best/model.safetensors", together / "llm/best/model.safetensors") < 1e-2
    assert team.out[1] == "" and "stage 2" not in team.err[1] and "best of 2 epochs" in team.out[0]
    assert not list(together.rglob("*.tmp")) and not (together / "llm" / "last").exists()


def test_stage_1_by_two_processes_is_stage_1_by_one(alone: Path, together: Path, tmp_path: Path) -> None:
    shutil.rmtree(together / "visual")
    team = forked(tmp_path / "logs", "train-visual", "--run", together)
    assert team.code == 0, team
    expected, found = losses(alone / "visual"), losses(together / "visual")
    assert len(found) == len(expected) and np.allclose(found, expected, atol=1e-2), (expected, found)
    assert "effective batch 4 (2 processes x 2 clips); the paper's is 8" in team.err[0]
    assert team.out[1] == "" and "epoch 1" in team.err[0] and "epoch" not in team.err[1]
    gap, same = (
        [line["video_gap"] for line in read_metrics(run / "visual/metrics.jsonl")] for run in (alone, together)
    )
    assert len(gap) == 1 and same == pytest.approx(gap, abs=1e-3)


def test_two_processes_contrast_the_clips_of_both(alone: Path, tmp_path: Path) -> None:
    runs = shutil.copytree(alone, tmp_path / "one"), shutil.copytree(alone, tmp_path / "two")
    terms = "visual_training.objective=cico,contrastive,denoising"
    words = ["train-llm", "--features", "feats.h5", "--llm", "light-t", "--set", terms, "--restart"]
    words += ["--set", "llm_training.batch_size=5", "--set", "llm_training.ema=0.9"]
    ran = slt_cache(*words, "--run", runs[0])
    team = forked(tmp_path / "logs", *words, "--run", runs[1])
    assert ran.code == 0 and team.code == 0, (ran.err, team)
    for name in ("loss", "loss/cico", "loss/contrastive", "loss/denoising"):
        expected, found = ([line[name] for line in read_metrics(run / "llm/metrics.jsonl")] for run in runs)
        assert np.allclose(found, expected, rtol=1e-3), (name, expected, found)
    assert difference(runs[0] / "llm/best/model.safetensors", runs[1] / "llm/best/model.safetensors") < 1e-2
    assert "FutureWarning" not in "".join(team.err)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "words", "said"),
    [
        ("llm", "train-llm --continue --set llm_training.epochs=3", "resumes after epoch 2"),
        ("visual", "train-visual --continue --set visual_training.epochs=3", "resumes after epoch 1"),
        ("llm", "train-llm --restart --set llm.init_from=ALONE/llm/best", "stage 2 begins with ALONE/llm/best"),
        (
            "visual",
            "train-visual --restart --set encoder.init_from=ALONE/visual/best",
            "training begins with ALONE/visual/best: backbone, temporal module, Light-T",
        ),
    ],
)
def test_a_training_that_begins_with_another_is_that_of_one_process(
    alone: Path, tmp_path: Path, stage: str, words: str, said: str
) -> None:
    runs = shutil.copytree(alone, tmp_path / "one"), shutil.copytree(alone, tmp_path / "two")
    asked, expected_words = (text.replace("ALONE", str(alone)) for text in (words, said))
    ran = slt_cache(*asked.split(), "--run", runs[0])
    assert ran.code == 0 and expected_words in ran.err, ran.err
    team = two(tmp_path / "logs", *asked.split(), "--run", runs[1])
    assert team.code == 0, team
    assert team.err[0].count(expected_words) == 1 and expected_words not in team.err[1]
    expected, found = losses(runs[0] / stage), losses(runs[1] / stage)
    assert len(found) == len(expected) and np.allclose(found, expected, atol=1e-2), (expected, found)
    again = two(tmp_path / "logs-again", *asked.replace("--restart ", "").split(), "--run", runs[1])
    assert again.code == 0 and "trained already" in again.err[0], again
    assert not list(runs[1].rglob("*.tmp")) and not (runs[1] / stage / "last").exists()


@pytest.mark.parametrize("features", ["cache", pytest.param("video", marks=pytest.mark.slow)])
def test_two_processes_score_every_clip_once(alone: Path, tmp_path: Path, features: str) -> None:
    runs = tmp_path / "one", tmp_path / "two"
    for run in runs:
        shutil.copytree(alone, run)
        if features == "video":
            (run / "feats.h5").unlink()
    words = ["eval", "--split", "train", "--set", "generation.batch_size=2"]
    ran = slt_cache(*words, "--run", runs[0])
    team = forked(tmp_path / "logs", *words, "--run", runs[1])
    assert ran.code == 0 and team.code == 0, (ran.err, team)
    expected, table = ((run / "eval" / "train.tsv").read_text() for run in runs)
    assert table == expected and len(set(table.splitlines())) == len(table.splitlines()) > 3
    others, scores = (json.loads((run / "eval" / "train.json").read_text())["scores"] for run in runs)
    assert scores == others
    assert team.out[0] and team.out[1] == ""


@pytest.mark.slow
def test_a_loss_that_is_not_finite_ends_all_processes(together: Path, tmp_path: Path) -> None:
    wild = ["--set", "llm_training.adapter_lr=1e36", "--set", "llm_training.batch_size=4"]
    team = forked(tmp_path / "logs", "train-llm", "--features", "feats.h5", "--run", together, *wild)
    assert 1 in team.codes and team.codes <= {1, 130, -signal.SIGTERM}, team
    assert "the loss became" in team.err[0] and "error:" not in team.err[1] and "Traceback" not in "".join(team.err)


def test_what_is_wrong_is_said_once(together: Path, tmp_path: Path) -> None:
    small = ["--set", "llm_training.batch_size=1"]
    team = forked(tmp_path / "logs", "train-llm", "--features", "feats.h5", "--run", together, *small)
    assert 2 in team.codes and team.codes <= {2, 130, -signal.SIGTERM}, team  # torchrun ends what is left
    assert "batch_size 1: shared by 2 processes" in team.err[0] and "error:" not in team.err[1]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_processes_and_they_go_on(together: Path, tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C goes to torchrun, which passes it on; SIGTERM here to one of the two alone."""
    whole = tmp_path / "whole"
    shutil.copytree(together, whole)
    words = ["train-llm", "--features", "feats.h5", "--set", "llm_training.epochs=8", "--set", "compute.save_minutes=0"]
    assert forked(tmp_path / "logs-whole", *words, "--run", whole).code == 0
    running = start(tmp_path / "logs", *words, "--run", together)
    wait_for(tmp_path / "logs", "epoch 2")
    if number == signal.SIGINT:
        os.kill(running.pid, number)
    else:
        signal_last(running, number)
    team = finish(running, tmp_path / "logs")
    assert team.code != 0 and (130 in team.codes or number == signal.SIGINT), team
    assert "saved in" in team.err[0] and (together / "llm" / "last" / "state.pt").is_file()
    assert "Traceback" not in "".join(team.err)
    again = forked(tmp_path / "logs-again", *words, "--run", together)
    assert again.code == 0 and "resumes" in again.err[0], again
    assert losses(together / "llm") == losses(whole / "llm")
    assert difference(whole / "llm/best/model.safetensors", together / "llm/best/model.safetensors") == 0


@pytest.mark.parametrize(("before", "after"), [(2, 1), pytest.param(1, 2, marks=pytest.mark.slow)])
def test_a_signal_within_dev_is_obeyed_at_once_and_another_number_of_processes_goes_on(
    alone: Path, together: Path, tmp_path: Path, before: int, after: int
) -> None:
    """Of two, the signal comes to the one that has done its share of dev and waits for the other."""
    words = ["train-llm", "--features", "feats.h5", "--run", together]
    running = start(tmp_path / "logs", *words, module="tests.helpers.slow_dev", processes=before)
    wait_for(tmp_path / "logs", "decoding")
    begun = time.monotonic()
    signal_last(running, signal.SIGTERM)
    stopped = finish(running, tmp_path / "logs")
    assert time.monotonic() - begun < 20, stopped  # of the 60 seconds that are left
    assert "stage 2: interrupted in epoch 1, after 2 of 2 batches; saved in" in stopped.err[0], stopped
    assert 130 in stopped.codes and "Traceback" not in "".join(stopped.err), stopped
    team = forked(tmp_path / "logs-again", *words, processes=after)
    assert team.code == 0, team
    assert f"resumes in epoch 1, after 2 of 2 batches; processes: {after} instead of {before}" in team.err[0]
    expected, found = losses(alone / "llm"), losses(together / "llm")
    assert len(found) == len(expected) and np.allclose(found, expected, atol=1e-4), (expected, found)
    assert difference(alone / "llm/best/model.safetensors", together / "llm/best/model.safetensors") < 1e-2


def spoil(run: Path, split: str) -> str:
    """Makes the last video of a split unreadable; of dev and test the second of two processes reads it. Returns its
    clip."""
    rows = [line.split("\t") for line in (run / "manifest.tsv").read_text().splitlines()]
    clip, _, video, *_ = [row for row in rows if row[1] == split][-1]
    path = run / video if (run / video).is_file() else Path(video)
    path.unlink()
    path.write_bytes(b"no video")
    return clip


@pytest.fixture
def own_videos(alone: Path, tmp_path: Path) -> Path:
    """A copy of the run whose manifest names the copy's videos."""
    run = shutil.copytree(alone, tmp_path / "run")
    manifest = run / "manifest.tsv"
    manifest.write_text(manifest.read_text().replace(str(alone), str(run)))
    return run


@pytest.mark.parametrize(
    "split", ["train", pytest.param("dev", marks=pytest.mark.slow), pytest.param("test", marks=pytest.mark.slow)]
)
def test_a_video_that_one_process_cannot_read_ends_all_and_is_named_once(
    own_videos: Path, tmp_path: Path, split: str
) -> None:
    clip = spoil(own_videos, split)
    words: list[str | Path] = ["eval", "--set", "generation.batch_size=2"]
    if split == "test":
        (own_videos / "feats.h5").unlink()
    else:
        shutil.rmtree(own_videos / "visual")
        words = ["train-visual", "--set", "generation.batch_size=1"]
    team = forked(tmp_path / "logs", *words, "--run", own_videos)
    shown = "".join(team.err)
    assert 2 in team.codes and team.codes <= {2, 130, -signal.SIGTERM}, team  # torchrun ends what is left
    assert shown.count("error:") == 1 and repr(clip) in team.err[0] and "Traceback" not in shown, team


@pytest.mark.slow
@pytest.mark.parametrize("command", ["train-joint", "train-llm"])
def test_training_from_pixels_with_the_llm_by_two_processes_is_that_of_one(
    alone: Path, tmp_path: Path, command: str
) -> None:
    words = [command, "--set", "llm_training.batch_size=4"]
    if command == "train-llm":
        words += ["--set", "llm_training.unfreeze=temporal"]
    folder = "joint" if command == "train-joint" else "llm-unfreeze-temporal"
    runs = shutil.copytree(alone, tmp_path / "one"), shutil.copytree(alone, tmp_path / "two")
    ran = slt_cache(*words, "--run", runs[0])
    assert ran.code == 0, ran.err
    team = forked(tmp_path / "logs", *words, "--run", runs[1])
    assert team.code == 0, team
    assert "effective batch 4 (2 processes x 2 clips)" in team.err[0]
    expected, found = losses(runs[0] / folder), losses(runs[1] / folder)
    assert len(found) == len(expected) and np.allclose(found, expected, atol=1e-2), (expected, found)
    assert team.out[1] == "" and f"eval --model {folder}" in team.out[0]
    scored = forked(tmp_path / "logs-eval", "eval", "--model", folder, "--run", runs[1])
    assert scored.code == 0 and (runs[1] / "eval" / f"{folder}.test.json").is_file(), scored


@pytest.mark.parametrize("clips", [23, 24, 25])
def test_the_shares_of_all_processes_are_the_batches_of_one(clips: int) -> None:
    whole = EpochOrder(clips, 4, seed=1, shuffle=True, lengths=list(range(clips)))
    orders = [
        EpochOrder(clips, 4, seed=1, shuffle=True, lengths=list(range(clips)), shard=Shard(n, 3)) for n in range(3)
    ]
    idle = [order.idle() for order in orders]
    for number, (batch, *shares) in enumerate(zip(whole, *orders, strict=True)):
        counted = [item for rank, share in enumerate(shares) if number not in idle[rank] for item in share]
        assert sorted(counted) == sorted(batch) and all(shares)


def test_the_demo_is_for_one_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("slt_cache.demo.size", lambda: 2)
    ran = slt_cache("demo", "--config", TINY, "--run", tmp_path / "run")
    assert (ran.code, "2 were started. Start it without torchrun" in ran.err) == (2, True), ran
    assert not (tmp_path / "run").exists()


def test_a_process_that_is_alone_waits_for_nobody() -> None:
    assert (
        is_main_process()
        and all_reduce_sum([1.0, 2.0]) == [1.0, 2.0]
        and gather_object(lambda: [3]) == [3]
        and main_process_first(lambda: 4) == 4
    )
    assert shard([1, 2, 3], block=2) == [1, 2, 3]
    with pytest.raises(ValueError, match="mine"):
        all_reduce_sum([], ValueError("mine"))
