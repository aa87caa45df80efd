"""Processes that read clips for a training and die, run out of memory or find no room in /dev/shm: one line, the state
saved, and a rerun that ends as an uninterrupted training does."""

import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch

from slt_cache import children
from slt_cache.batches import clips as clip_batches
from slt_cache.batches import worker_errors as loader_errors
from slt_cache.batches.clips import clip_loader
from slt_cache.batches.worker_errors import LoaderFailed, loader_failure
from slt_cache.checkpoints.visual import new_visual_translator
from slt_cache.config import (
    AugmentationConfig,
    EncoderConfig,
    LightTConfig,
    OptimizerConfig,
    VideoConfig,
    VisualTrainingConfig,
)
from slt_cache.corpora.base import Clip
from slt_cache.text.tokenizer import Tokenizer
from slt_cache.training.loop import train
from slt_cache.training.task import TrainerOptions
from slt_cache.training.tasks.visual import FromPixelsTask, visual_optimizer
from tests.helpers.commands import TINY
from tests.helpers.small_disks import small_disk

MakeTask = Callable[..., FromPixelsTask]
SETTINGS = OptimizerConfig(epochs=3, batch_size=2, lr=1e-3)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> list[Clip]:
    folder = tmp_path_factory.mktemp("clips")
    return [
        Clip(f"clip {n}", "train", make_video(folder / f"{n}.mp4", 9 + 4 * n, n), None, None, text)
        for n, text in enumerate(["heute regnet es", "fällt schnee im norden", "es ist trocken", "es weht ein wind"])
    ]


@pytest.fixture
def make_task(clips: list[Clip], small_video: VideoConfig, tokenizer: Tokenizer) -> MakeTask:
    """A stage 1 read by processes, always with the same weights; `on_dev` is called with the processes at each
    evaluation."""

    def make(on_dev: Callable[[list[int]], None] = lambda _: None, workers: int = 2) -> FromPixelsTask:
        torch.manual_seed(0)
        model = new_visual_translator(
            EncoderConfig(weights="none", dim=32), small_video, LightTConfig(size="tiny"), tokenizer
        )
        loader = clip_loader(
            clips, small_video, tokenizer, batch_size=2, workers=workers, seed=0, augmentation=AugmentationConfig()
        )

        def evaluate() -> dict[str, float]:
            on_dev([worker.pid for worker in getattr(loader._iterator, "_workers", [])])
            return {"bleu4": 1.0}

        optimizer = partial(visual_optimizer, model, VisualTrainingConfig())
        return FromPixelsTask("stage 1", model, loader, optimizer, evaluate, lambda epoch, dev: None)

    return make


def engine_of(folder: Path) -> TrainerOptions:
    return TrainerOptions(SETTINGS, 0, 1, "fp32", torch.device("cpu"), folder)


def killing(number: int) -> Callable[[list[int]], None]:
    def kill(workers: list[int]) -> None:
        os.kill(workers[0], number)
        time.sleep(0.5)  # as a dev scoring, in which it is noticed

    return kill


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGBUS, marks=pytest.mark.slow)])
def test_a_killed_reader_of_clips_is_named_the_training_is_saved_and_ends_as_it_would_have(
    make_task: MakeTask, tmp_path: Path, capsys: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    whole = make_task(workers=0)
    train(whole, engine_of(tmp_path / "whole"))
    with pytest.raises(LoaderFailed) as failed:
        train(make_task(killing(number)), engine_of(tmp_path / "killed"))
    message = str(failed.value)
    assert re.match(
        rf"a process that reads clips for the training \(process \d+\) was killed by {number.name}\. ", message
    )
    assert ("Usually the machine ran out of memory." in message) == (number == signal.SIGKILL)
    assert ("/dev/shm" in message) == (number == signal.SIGBUS)
    assert "--set compute.workers=1, or 0 for none" in message and "\n" not in message
    assert failed.value.exit_code == 1
    assert "interrupted in epoch 1, after 2 of 2 batches; saved in" in capsys.readouterr().err
    resumed = make_task(workers=1)
    train(resumed, engine_of(tmp_path / "killed"))
    for name, weights in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], weights), name


def test_a_reader_of_clips_without_memory_says_so_in_a_line(
    make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def greedy(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(clip_batches, "augment", greedy)
    with pytest.raises(LoaderFailed, match=r"^a process that reads clips for the training ran out of memory\. Run"):
        train(make_task(), engine_of(tmp_path))


def test_a_batch_that_finds_no_room_in_shared_memory_is_an_error_and_not_waited_for_without_end(
    make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(tensor: torch.Tensor) -> None:
        raise RuntimeError(
            "unable to allocate shared memory(shm) for file </torch_1_2_0>: No space left on device (28)"
        )

    monkeypatch.setattr(torch.Tensor, "share_memory_", full)
    with pytest.raises(LoaderFailed, match=r"found no room in shared memory for a batch\. /dev/shm has .* MB"):
        train(make_task(), engine_of(tmp_path))


def test_a_tiny_shared_memory_is_refused_before_processes_start(
    make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path / "shm", 65_536) as tiny:
        for module in (children, loader_errors):
            monkeypatch.setattr(module, "SHARED_MEMORY", tiny)
        with pytest.raises(LoaderFailed, match=rf"{tiny} has 0\.1 MB, 0\.1 MB of it free now; give it more"):
            train(make_task(), engine_of(tmp_path))
        train(make_task(workers=0), engine_of(tmp_path))


@pytest.mark.parametrize(
    ("torch_says", "is_said"),
    [
        ("DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that ...", "SIGBUS"),
        ("DataLoader worker (pid(s) 7, 8) exited unexpectedly", r"\(process 7, 8\) ended\. If the system killed it"),
        ("DataLoader worker (pid 7) exited unexpectedly with exit code 3. Details are lost", "exit code 3"),
        ("Caught RuntimeError in DataLoader worker process 0.\n ... can't allocate memory: you tried", "out of memory"),
    ],
)
def test_whatever_torch_says_of_its_processes_is_one_line(torch_says: str, is_said: str) -> None:
    failure = loader_failure(RuntimeError(torch_says))
    assert failure is not None
    assert re.search(is_said, str(failure)) and "\n" not in str(failure)


def test_other_errors_stay_what_they_are() -> None:
    assert loader_failure(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) is None
    assert loader_failure(MemoryError()) is None  # of this process


def test_batches_are_the_same_bits_from_processes_as_from_none(make_task: MakeTask) -> None:
    for here, there in zip(make_task(workers=0).batches(1), make_task(workers=2).batches(1), strict=True):
        assert here.ids == there.ids
        assert torch.equal(here.frames, there.frames) and torch.equal(here.lengths, there.lengths)
        assert torch.equal(here.targets.labels, there.targets.labels)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs a mount namespace")
@pytest.mark.parametrize("size", ["4k", "1200k"])
def test_a_full_dev_shm_ends_a_training_in_one_line(tmp_path: Path, size: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)

    def in_its_own() -> None:
        assert libc.unshare(0x20000) == 0  # CLONE_NEWNS
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", "/dev/shm"], check=True)

    try:
        subprocess.run(["true"], preexec_fn=in_its_own, check=True)
    except subprocess.SubprocessError:
        pytest.skip("mounting a file system is not allowed here")
    settings = ["compute.workers=2", "video.size=128", "video.resize=130"]
    ran = subprocess.run(
        [sys.executable, "-m", "slt_cache", "train-visual", "--run", str(tmp_path), "--config", str(TINY)]
        + [part for setting in settings for part in ("--set", setting)],
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=in_its_own,
    )
    assert ran.returncode == 1
    assert "room in shared memory" in ran.stderr.splitlines()[-1]
    assert "Traceback" not in ran.stderr
