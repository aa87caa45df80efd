"""Experiment trackers, TensorBoard, Weights & Biases and MLflow, which receive the values of metrics.jsonl."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from slt_cache.errors import InputError
from slt_cache.reading import first_line
from slt_cache.training.task import TrainerOptions
from slt_cache.write_errors import write_errors

WANDB_ID_FILE, MLFLOW_ID_FILE = "wandb-id.txt", "mlflow-id.txt"
"""Files in last/ with the id of the tracked run: a resumed training continues the same run; a restarted one opens a new
run."""
EXPERIMENT = "slt-cache"
"""MLflow's experiment, unless the environment names another one."""


class Tracker(Protocol):
    @property
    def keeps(self) -> bool:
        """Whether it still has what a killed run sent for steps that are done again: sent twice, they would be there
        twice."""

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
        if name == "mlflow":
            return _Mlflow(options, title)
    return None


class _TensorBoard:
    """Tracker for TensorBoard; view it with `tensorboard --logdir runs/NAME`."""

    keeps = False

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

        known = _known_id(options.last / WANDB_ID_FILE)
        self.keeps = known is not None
        run_id = known or uuid4().hex
        self.run: Any = wandb.init(id=run_id, name=title, dir=str(options.folder), resume="allow")
        _keep_id(options.last / WANDB_ID_FILE, run_id)

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.run.log({**values}, step=step)

    def close(self) -> None:
        self.run.finish()


class _Mlflow:
    """Tracker for MLflow, by accelerate; the environment sets where it stores, and the experiment (MLFLOW_TRACKING_URI,
    MLFLOW_EXPERIMENT_NAME)."""

    def __init__(self, options: TrainerOptions, title: str):
        from accelerate.tracking import MLflowTracker
        from mlflow.exceptions import MlflowException

        kept = options.last / MLFLOW_ID_FILE
        known = _known_id(kept)
        self.keeps = known is not None
        self.tracker: Any = MLflowTracker(EXPERIMENT, logging_dir=None, run_id=known, run_name=title)
        try:
            self.tracker.start()
        except MlflowException as error:
            raise InputError(
                f"compute.tracker mlflow: {first_line(error)}. Set MLFLOW_TRACKING_URI as when the training began, or "
                f"delete {kept} to track the rest of it as another run."
            ) from error
        _keep_id(kept, self.tracker.tracker.info.run_id)

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.tracker.log({**values}, step=step)

    def close(self) -> None:
        self.tracker.finish()


def _known_id(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _keep_id(path: Path, run_id: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(run_id, encoding="utf-8")
