"""A decoder-only LLM, trimmed and with a prompt, through what is done to trainings: killed and gone on with, shared by
two processes, and joint with the encoder."""

import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from slt_cache.checkpoints.end_to_end import load_end_to_end
from slt_cache.checkpoints.translator import load_llm
from slt_cache.config import load_config, save_config
from slt_cache.models.llm.decoder_only import DecoderOnly
from slt_cache.reading import read_json
from tests.e2e.test_distributed import difference, forked, losses, two
from tests.e2e.test_resume import SMALL
from tests.helpers.commands import TINY, complaints, slt_cache
from tests.helpers.small_causal_llms import make_causal_llm

SETTINGS = [*SMALL, "llm_training.dropout=0.0", "light_t.dropout=0.0", "visual_training.epochs=1"]
PROMPT = "llm.prompt=Sign: {video} German:"


def succeed(*arguments: object) -> str:
    ran = slt_cache(*arguments)
    assert ran.code == 0, ran.err
    return ran.out


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of both stages that nothing interrupted."""
    folder = tmp_path_factory.mktemp("decoder")
    make_causal_llm("gpt2", folder / "llm")
    run = folder / "run"
    settings = [part for setting in [*SETTINGS, f"llm.name={folder / 'llm'}"] for part in ("--set", setting)]
    succeed("train-visual", "--run", run, "--config", TINY, *settings)
    succeed("extract-features", "--split", "all", "--run", run)
    succeed("train-llm", "--features", "feats.h5", "--run", run, "--set", PROMPT)
    return run


@pytest.mark.parametrize(
    "moments",
    [
        [(signal.SIGKILL, 0.7)],
        pytest.param([(signal.SIGKILL, 0.3), (signal.SIGTERM, 0.5)], marks=pytest.mark.slow),
    ],
)
def test_killed_and_stopped_it_ends_with_the_weights_of_an_uninterrupted_training(
    whole: Path, tmp_path: Path, moments: list[tuple[int, float]]
) -> None:
    points = [{"stage": "llm", "signal": how, "workers": 0, "event": event} for how, event in moments]
    assert complaints(whole, tmp_path, points) == [None] * len(points)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "folder", "closeness"),
    [("train-llm --features feats.h5", "llm", 1e-4), ("train-joint", "joint", 1e-2)],
)
def test_torchrun_trains_it_with_lora_as_one_process_does(
    whole: Path, tmp_path: Path, command: str, folder: str, closeness: float
) -> None:
    runs = tmp_path / "one", tmp_path / "two"
    for run in runs:
        shutil.copytree(whole, run)
        shutil.rmtree(run / "llm")
    words = [*command.split(), "--set", "llm.lora.r=2"]
    succeed(*words, "--run", runs[0])
    team = two(tmp_path / "logs", *words, "--run", runs[1])
    assert team.code == 0, team
    expected, found = (losses(run / folder) for run in runs)
    assert len(found) == len(expected) == 2 and np.allclose(found, expected, atol=closeness), (expected, found)
    files = [path.relative_to(runs[0]) for path in (runs[0] / folder / "best").rglob("*.safetensors")]
    assert any("lora" in path.parts for path in files)
    assert all(difference(runs[0] / file, runs[1] / file) < 1e-2 for file in files)


def test_two_processes_train_it_as_one_does(whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    shutil.rmtree(run / "llm")  # the trimmed LLMs too
    team = forked(tmp_path / "logs", "train-llm", "--features", "feats.h5", "--run", run)
    assert team.code == 0, team
    expected, found = losses(whole / "llm"), losses(run / "llm")
    assert len(found) == len(expected) and np.allclose(found, expected, atol=1e-4), (expected, found)
    for file in ("model.safetensors", "adapter.safetensors"):
        assert (
            difference(whole / "llm" / "best" / file, run / "llm" / "best" / file) < 1e-2
        )  # the sign of a gradient of about 0 may differ


@pytest.mark.parametrize("command", ["train-llm", "train-joint"])
def test_the_encoder_learns_with_it(whole: Path, tmp_path: Path, command: str) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    unfreeze = ("--set", "llm_training.unfreeze=temporal") if command == "train-llm" else ()
    succeed(command, "--run", run, *unfreeze, "--set", "llm_training.epochs=1", "--set", "compute.workers=0")
    [folder] = [llm.parents[1] for llm in run.glob("*/best/llm")]
    saved = load_end_to_end(folder / "best", "").model.translator
    before = load_llm(run / "llm" / "best").model
    assert isinstance(saved.kind, DecoderOnly) and isinstance(before.kind, DecoderOnly)
    assert (saved.kind.before, saved.start) == (before.kind.before, before.start) and len(saved.kind.before) > 1
    succeed("eval", "--run", run, "--model", folder.name)
    assert read_json(run / "eval" / f"{folder.name}.test.json")["clips"] > 0


@pytest.mark.parametrize(
    ("positions", "refused"),
    [(12, r"clips are longer than the LLM's 8 steps"), (28, r"the sentence of clip '.*' has .* tokens, more than")],
)
def test_what_there_are_no_positions_for_is_refused_before_training(
    whole: Path, tmp_path: Path, positions: int, refused: str
) -> None:
    """Positions end in GPT-2: a quarter of a small table is the sentence's, the start token is one more."""
    make_causal_llm("gpt2", tmp_path / "short", max_position_embeddings=positions)
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    named = ("--set", f"llm.name={tmp_path / 'short'}", "--set", "llm.trim=false", "--set", "llm.prompt={video}")
    ran = slt_cache("train-llm", "--features", "feats.h5", "--run", tmp_path / "new", "--from", run, *named)
    assert ran.code == 2 and re.search(refused, ran.err), ran.err
    assert "Traceback" not in ran.err


@pytest.mark.slow
def test_a_killed_joint_training_with_lora_ends_with_the_weights_of_an_uninterrupted_one(
    whole: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(whole, tmp_path / "run")
    shutil.rmtree(run / "llm")
    save_config(  # a comparison saves no settings of its own
        load_config(str(run / "config.yaml"), ["llm.lora.r=2", "llm.lora.dropout=0.1"]), run / "config.yaml"
    )
    succeed("train-joint", "--run", run)
    assert (run / "joint" / "best" / "llm" / "lora").is_dir()
    moments = [(signal.SIGKILL, 0.3), (signal.SIGTERM, 0.5), (signal.SIGKILL, 0.7)]
    points = [{"stage": "joint", "signal": how, "workers": 0, "event": event} for how, event in moments]
    assert complaints(run, tmp_path, points) == [None] * len(points)
