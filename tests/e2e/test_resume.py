"""Trainings that are killed or interrupted, in processes of their own, and gone on with: the weights are, bit for bit,
those of an uninterrupted training."""

import random
import signal
from pathlib import Path

import pytest

from tests.helpers.commands import TINY, complaints, slt_cache

SMALL = [
    "corpus.clips=20",
    "visual_training.batch_size=6",
    "llm_training.batch_size=4",
    "visual_training.evaluate_every=2",
    "llm_training.evaluate_every=2",
    "generation.num_beams=1",
]
"""A few updates an epoch; the last weights are kept, whatever their scores; and not scored again with more beams."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of both stages that nothing interrupted."""
    run = tmp_path_factory.mktemp("whole") / "tiny"
    settings = [part for setting in SMALL for part in ("--set", setting)]
    for arguments in (
        ["train-visual", "--run", run, "--config", TINY, *settings],
        ["extract-features", "--split", "all", "--run", run],
        ["train-llm", "--features", "feats.h5", "--run", run],
    ):
        ran = slt_cache(*arguments)
        assert ran.code == 0, ran.err
    return run


A_FEW = [
    {"stage": "visual", "signal": signal.SIGKILL, "workers": 2, "event": 0.8},
    {"stage": "llm", "signal": signal.SIGINT, "workers": 0, "event": 0.2},
    {"stage": "llm", "signal": signal.SIGKILL, "workers": 0, "event": 0.5, "restart": True},
]


def test_a_few_killed_and_interrupted_trainings_end_with_the_weights_of_an_uninterrupted_one(
    whole: Path, tmp_path: Path
) -> None:
    assert complaints(whole, tmp_path, A_FEW) == [None] * len(A_FEW)


@pytest.mark.slow
def test_a_restart_killed_at_sixteen_moments_loses_no_finished_result(whole: Path, tmp_path: Path) -> None:
    draw = random.Random(16)
    points = [
        {
            "stage": ("visual", "llm")[number % 2],
            "signal": signal.SIGKILL,
            "workers": 0,
            "restart": True,
            "event": 0.9 + 0.1 * draw.random() if number % 4 > 1 else draw.random(),  # half of them at the very end
        }
        for number in range(16)
    ]
    assert complaints(whole, tmp_path, points) == [None] * 16


@pytest.mark.slow
def test_twenty_killed_trainings_end_with_the_weights_of_an_uninterrupted_one(whole: Path, tmp_path: Path) -> None:
    draw = random.Random(20)
    points = [
        {
            "stage": ("visual", "llm")[number % 2],
            "signal": signal.SIGKILL,
            "workers": (0, 0, 2, 0)[number % 4],
            ("event", "time")[number % 5 == 4]: draw.random(),
        }
        for number in range(20)
    ]
    assert complaints(whole, tmp_path, points) == [None] * 20


@pytest.mark.slow
def test_signals_at_twelve_moments_of_both_stages_are_obeyed(whole: Path, tmp_path: Path) -> None:
    draw = random.Random(12)
    points = [
        {
            "stage": ("visual", "llm")[number % 2],
            "signal": (signal.SIGINT, signal.SIGTERM)[number // 2 % 2],
            "workers": (2, 0)[number % 2],
            "event": 0.2 + 0.65 * draw.random(),  # while updates are done
        }
        for number in range(12)
    ]
    assert complaints(whole, tmp_path, points) == [None] * 12
