"""Trainings on pixels on their device: how the backbone is run, and what a step takes."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from slt_cache.config import LlmTrainingConfig, VisualTrainingConfig, load_config
from slt_cache.pipeline import visual_training
from slt_cache.pipeline.visual_training import memory_needed, warn_of_memory, with_passes
from tests.helpers.commands import TINY

PARAMETERS = 1_000_000


def model(trained: bool = True) -> Any:
    backbone = torch.nn.Linear(2, 2).requires_grad_(trained)
    encoder = SimpleNamespace(backbone=backbone, checkpointing=False, chunk_frames=None)
    return SimpleNamespace(encoder=encoder, parameters=backbone.parameters)


def test_the_backbone_runs_as_the_settings_say() -> None:
    config = load_config(str(TINY), ["encoder.checkpointing=true", "encoder.chunk_frames=8"])
    encoder: Any = with_passes(model(), config).encoder
    assert (encoder.checkpointing, encoder.chunk_frames) == (True, 8)


def test_a_step_takes_more_with_more_frames_and_less_where_activations_are_recomputed_or_the_optimizer_is_sgd() -> None:
    plain, sparing = load_config(str(TINY)), load_config(str(TINY), ["encoder.checkpointing=true"])
    one, two, three = (memory_needed(PARAMETERS, plain, frames, adam=True) for frames in (100, 200, 300))
    assert three - two == two - one > 0
    assert memory_needed(PARAMETERS, sparing, 200, adam=True) < two
    assert two - memory_needed(PARAMETERS, plain, 200, adam=False) == 4 * PARAMETERS
    assert memory_needed(PARAMETERS, plain, 200, adam=True, averaged=True) - two == 4 * PARAMETERS


@pytest.mark.parametrize(
    ("free", "loop", "trained", "warns"),
    [
        (10**12, VisualTrainingConfig(), True, False),
        (10**6, VisualTrainingConfig(), True, True),
        (10**6, LlmTrainingConfig(), True, True),
        (10**6, VisualTrainingConfig(), False, False),
    ],
)
def test_a_gpu_that_is_too_small_for_the_longest_clips_is_named_before_the_training(
    free: int,
    loop: VisualTrainingConfig | LlmTrainingConfig,
    trained: bool,
    warns: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(visual_training, "lengths_of", lambda clips, video: [100, 20])
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (free, free))
    config = load_config(str(TINY))
    warn_of_memory(model(trained), config, loop, [], torch.device("cuda"))
    frames = loop.batch_size * 100 // config.video.keep_every
    said = capsys.readouterr().err
    assert (f"batches of up to {frames:,} frames take about" in said) == warns
    warn_of_memory(model(trained), config, loop, [], torch.device("cpu"))
    assert capsys.readouterr().err == ""
