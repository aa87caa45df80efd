"""What a training of a run is: what decides its weights, what the loop is given, how weights are saved and scored.

run_stage.py runs it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from slt_cache.checkpoints.named_files import named_files
from slt_cache.checkpoints.record import Record, save_record
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
    """One training of a run. Subclasses: a training from video, from the cache, and the LLM's pre-training."""

    run: Run
    variant: Variant
    derived: Derived | None
    """Holds the tokenizer or the LLM that was made for the training."""

    @property
    def name(self) -> str:
        return self.variant.stage

    @property
    def folder(self) -> Path:
        return self.run.folder / self.variant.name

    @property
    def command(self) -> str:
        """The command that trains it, with the settings of this command line."""
        return self.run.command(self.variant.command)

    @property
    def unfinished(self) -> Unfinished:
        return Unfinished(self.folder)

    @property
    @abstractmethod
    def loop(self) -> OptimizerConfig:
        """Batches, epochs and learning rate."""

    @property
    @abstractmethod
    def evaluate_every(self) -> int:
        """Epochs."""

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Everything that decides the weights."""

    @property
    def train_clips(self) -> Sequence[Clip]:
        """The clips that are read from video; they are listed in the folder, to say later how they have changed."""
        return ()

    @property
    def dev_sha256(self) -> str | None:
        """Identity of the dev split, which decides what weights are kept, but none of them; None without dev."""
        return None

    @property
    def keeps_state(self) -> bool:
        """Whether its last state is kept once it is finished; no command can continue the Light-T baseline."""
        return self.run.config.compute.keep_state and self.variant is not BASELINE

    def hash_inputs(self) -> None:
        """Looks at all input now, in every process: what changes during the training is not what it was made of."""
        _ = self.settings, self.dev_sha256

    @abstractmethod
    def make_task(self, device: torch.device) -> Task:
        """Returns what the loop trains; draws the fresh weights."""

    def keep(self) -> None:
        """Puts what was made for the training in its place, once nothing can be refused any more."""
        if self.derived is not None:
            self.derived.keep()

    def score(self, best: Path, beams: int) -> dict[str, float]:
        """Scores the weights in a folder on dev, by beam search."""
        raise NotImplementedError(f"{self.name} has no dev split")

    def save_record(self, folder: Path, record: Record) -> None:
        """Replaces the record of the weights in a folder."""
        save_record(folder, record)

    def record_of(self, epoch: int, dev: dict[str, float]) -> Record:
        """Returns the record to be saved with the weights of an epoch that had these scores on dev."""
        config = self.run.config
        return Record(
            self.name,
            self.settings,
            best_epoch=epoch,
            dev=dev,
            dev_beams=config.generation.dev_beams if dev else None,
            dev_sha256=self.dev_sha256 if dev else None,
            context={
                "corpus": config.corpus.name,
                "scoring": {"preset": preset_of(config), **asdict(choices_of(config))} if dev else {},
                "generation": config.generation.model_dump(mode="json", exclude={"batch_size"}),
            },
            threads=torch.get_num_threads(),
            named=named_files(config),
        )
