"""TensorBoard and Weights & Biases, by setting: the values of metrics.jsonl once more, for those who watch there."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from slt_cache.errors import InputError
from slt_cache.training.task import TrainerOptions
from slt_cache.write_errors import write_errors

WANDB_ID_FILE = "wandb-id.txt"
"""In last/: a training that goes on goes on in the same picture, one that begins anew in another."""


class Tracker(Protocol):
    def log(self, values: Mapping[str, float], step: int) -> None: ...

    def close(self) -> None: ...


def require_tracker(name: str) -> None:
    """Raises InputError where the package that the setting names is not installed."""
    if name != "none" and find_spec(name) is None:
        raise InputError(
            f"compute.tracker {name}: its package is not installed. Run: pip install {name}, or set "
            "compute.tracker=none; metrics.jsonl is written always."
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
    """`tensorboard --logdir runs/NAME` shows it."""

    def __init__(self, folder: Path, step: int):
        from torch.utils.tensorboard import SummaryWriter

        # What a killed run had written of later updates is hidden.
        self.writer: Any = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def log(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        self.writer.close()


class _WeightsAndBiases:
    """Where to, and whether online, is for the environment to say (WANDB_MODE, WANDB_PROJECT)."""

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
