"""Experiment trackers, TensorBoard and Weights & Biases, which receive the values of metrics.jsonl."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from slt_cache.errors import InputError
from slt_cache.training.task import TrainerOptions
from slt_cache.write_errors import write_errors

WANDB_ID_FILE = "wandb-id.txt"
"""File in last/ with the id of the tracked run: a resumed training continues the same run; a restarted one opens a new
run."""


class Tracker(Protocol):
    def log(self, values: Mapping[str, float], step: int) -> None: ...

    def close(self) -> None: ...


def require_tracker(name: str) -> None:
    """Raises InputError if the tracker's package is not installed."""
    if name != "none" and find_spec(name) is None:
        raise InputError(
            f"compute.tracker {name}: not installed. Run: pip install {name}, or set "
            "compute.tracker=none; metrics.jsonl is always written."
        )


def open_tracker(name: str, options: TrainerOptions, title: str, step: int) -> Tracker | None:
    """Opens the tracker of a training that has done `step` updates."""
    require_tracker(name)
    with write_errors(options.last / "the files of the tracker"):
        if name == "tensorboard":
            return _TensorBoard(options.last, step)
        if name == "wandb":
            return _WeightsAndBiases(options, title)
    return None


class _TensorBoard:
    """Tracker for TensorBoard; view it with `tensorboard --logdir runs/NAME`."""

    def __init__(self, folder: Path, step: int):
        from torch.utils.tensorboard import SummaryWriter

        # Hides what a killed run wrote for later steps.
        self.writer: Any = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def log(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        self.writer.close()


class _WeightsAndBiases:
    """Tracker for Weights & Biases; the environment sets project and mode (WANDB_PROJECT, WANDB_MODE)."""

    def __init__(self, options: TrainerOptions, title: str):
        import wandb

        kept = options.last / WANDB_ID_FILE
        run_id = kept.read_text(encoding="utf-8") if kept.is_file() else uuid4().hex
        self.run: Any = wandb.init(id=run_id, name=title, dir=str(options.folder), resume="allow")
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(run_id, encoding="utf-8")

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.run.log({**values}, step=step)

    def close(self) -> None:
        self.run.finish()
