"""Definition of a training stage: what determines its weights, what the loop is given, how weights are saved and
scored. run_stage.py runs it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from slt_cache.checkpoints.named_files import named_files
from slt_cache.checkpoints.record import Record, save_record, whole_record
from slt_cache.config import OptimizerConfig
from slt_cache.corpora.base import Clip
from slt_cache.runs.derived import Derived
from slt_cache.runs.run import Run
from slt_cache.runs.scoring import choices_of, preset_of
from slt_cache.runs.unfinished import Unfinished
from slt_cache.runs.variants import BASELINE, Variant
from slt_cache.training.task import Task


@dataclass(frozen=True)
class Stage(ABC):
    """Training of a run. Subclasses: training from video, from the cache, and pre-training of the LLM."""

    run: Run
    variant: Variant
    derived: Derived | None
    """Tokenizer or LLM made for the training."""

    @property
    def name(self) -> str:
        return self.variant.stage

    @property
    def folder(self) -> Path:
        return self.run.folder / self.variant.name

    @property
    def command(self) -> str:
        """Command that trains it, with the settings of this command line."""
        return self.run.command(self.variant.command)

    @property
    def unfinished(self) -> Unfinished:
        return Unfinished(self.folder)

    @property
    @abstractmethod
    def loop(self) -> OptimizerConfig:
        """Settings of batches, epochs and learning rate."""

    @property
    @abstractmethod
    def evaluate_every(self) -> int:
        """Epochs between evaluations."""

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Settings and inputs that determine the weights."""

    @property
    def train_clips(self) -> Sequence[Clip]:
        """Clips read from video; the folder lists them, to explain later changes."""
        return ()

    @property
    def dev_sha256(self) -> str | None:
        """SHA-256 of the dev split, which determines which weights are kept; None without dev."""
        return None

    @property
    def video_gap(self) -> dict[str, float]:
        """Video gap in the last evaluation (training/video_gap.py); empty if the stage measures none."""
        return {}

    @property
    def keeps_state(self) -> bool:
        """Whether its last state is kept once it is finished; no command can continue the Light-T baseline."""
        return self.run.config.compute.keep_state and self.variant is not BASELINE

    @property
    def named(self) -> dict[str, str]:
        """Paths of what the settings know by content only."""
        return named_files(self.run.config)

    def hash_inputs(self) -> None:
        """Reads all input now, in every process: changes during training are not part of it."""
        _ = self.settings, self.dev_sha256

    @abstractmethod
    def make_task(self, device: torch.device) -> Task:
        """Returns the task of the loop; draws the initial weights."""

    def initialize(self, model: Any) -> list[str]:
        """Loads what a training begins with from another run, when it starts and not when it resumes. Returns lines
        that say what was taken. Raises InputError if it is missing, damaged or does not fit."""
        return []

    def evaluated(self, epoch: int, scores: Mapping[str, float]) -> None:  # noqa: B027
        """Called after each evaluation on dev; may raise to end the training there."""

    def keep(self) -> None:
        """Moves what was made for the training into place, once nothing can be refused any more."""
        if self.derived is not None:
            self.derived.keep()

    def score(self, best: Path, beams: int) -> dict[str, float]:
        """Scores the weights in a folder on dev, by beam search."""
        raise NotImplementedError(f"{self.name} has no dev split")

    def save_record(self, folder: Path, record: Record) -> None:
        """Replaces the record of the weights in a folder."""
        save_record(folder, record)

    def record_of(self, epoch: int, dev: dict[str, float]) -> Record:
        """Returns the record of the weights of an epoch with these dev scores."""
        config, begun = self.run.config, whole_record(self.unfinished.last)
        return Record(
            self.name,
            self.settings,
            best_epoch=epoch,
            dev=dev,
            dev_beams=config.generation.dev_beams if dev else None,
            dev_sha256=self.dev_sha256 if dev else None,
            video_gap=self.video_gap if dev else {},
            context={
                "corpus": config.corpus.name,
                "scoring": {"preset": preset_of(config), **choices_of(config).recorded()} if dev else {},
                "generation": config.generation.model_dump(mode="json", exclude={"batch_size"}),
            },
            threads=torch.get_num_threads(),
            named={**({} if begun is None else begun.named), **self.named},
        )
