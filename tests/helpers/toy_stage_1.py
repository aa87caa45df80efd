"""Stage 1 as a task, small enough for tests."""

from collections.abc import Callable
from functools import partial
from typing import Any

from slt_cache.config import (
    VisualTrainingConfig,
)
from slt_cache.models.translators import VisualTranslator
from slt_cache.training.tasks.visual import FromPixelsTask, visual_optimizer

TINY = VisualTrainingConfig(batch_size=2, epochs=1, lr=1e-2)


def task_of(
    visual: VisualTranslator,
    loader: Any,
    evaluate: Callable[[], dict[str, float]],
    save: Callable[[int, dict[str, float]], None],
) -> FromPixelsTask:
    return FromPixelsTask("stage 1", visual, loader, partial(visual_optimizer, visual, TINY), evaluate, save)
