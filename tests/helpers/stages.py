"""A stage that trains nothing, for tests of what surrounds a training."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from slt_cache.config import Config, OptimizerConfig
from slt_cache.pipeline.stages import Stage
from slt_cache.runs.run import Run
from slt_cache.runs.variants import VISUAL
from slt_cache.training.task import Task


@dataclass(frozen=True)
class IdleStage(Stage):
    """Stage 1 of a run folder, with settings of the test."""

    asked: dict[str, Any]

    @property
    def loop(self) -> OptimizerConfig:
        return self.run.config.visual_training

    @property
    def evaluate_every(self) -> int:
        return 1

    @cached_property
    def settings(self) -> dict[str, Any]:
        return self.asked

    def make_task(self, device: torch.device) -> Task:
        raise AssertionError("nothing is to be trained")


def idle_stage(run: Path, settings: dict[str, Any]) -> IdleStage:
    return IdleStage(Run(run, Config()), VISUAL, None, settings)
