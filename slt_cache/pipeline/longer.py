"""`--continue`: a training is resumed from its last state for more epochs than it was made with.

Its epochs from there on are those of a longer training: the same data in the same order, and the learning rate of the
longer schedule. Only the epochs before have followed the shorter one, which the record says (`continued`)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slt_cache.checkpoints.record import Record, different_settings, read_record, require_same
from slt_cache.config import OptimizerConfig
from slt_cache.errors import InputError
from slt_cache.hashes import file_sha256
from slt_cache.pipeline.stages import Stage
from slt_cache.runs.run import Run
from slt_cache.runs.unfinished import BEST, Unfinished
from slt_cache.training.schedule import is_out_of_patience
from slt_cache.training.state import STATE_FILE, TrainerState, read_progress

ENDS = ("epochs", "patience")
"""Settings that say when a training ends, the only ones that may differ when it is continued."""


@dataclass(frozen=True)
class Shorter:
    """Training that may be continued: the unfinished one of a stage, or else the finished one."""

    folder: Path
    record: Record
    progress: TrainerState
    is_finished: bool

    @property
    def continued(self) -> tuple[int, ...]:
        """Epochs after which it was continued, including this time."""
        return (*self.record.continued, self.progress.epoch)

    def require_more(self, section: str, loop: OptimizerConfig, evaluate_every: int, command: str) -> None:
        """Raises InputError if the settings of the loop, a section of the config, leave nothing to train."""
        name, progress = self.record.stage, self.progress
        trained = progress.epoch + (progress.batch > 0)
        if loop.epochs < trained + self.is_finished:
            raise InputError(
                f"{section}.epochs={loop.epochs}: {name} in {self.folder} has trained {trained} epochs already, and "
                f"--continue only adds to them. Ask for more, or train from the start: {command} --restart"
            )
        if is_out_of_patience(progress, loop.patience, evaluate_every):
            raise InputError(
                f"{section}.patience={loop.patience}: {name} in {self.folder} ended after epoch {progress.epoch}, "
                f"since dev had not improved in {loop.patience} evaluations, and more epochs alone would not continue "
                f"it. Also set {section}.patience to a larger number, or to null."
            )


def require_begun(run: Run, folder: Path, command: str) -> None:
    """Raises InputError if `--continue` is given and a stage's folder holds no training, before anything is prepared
    for one; `command` trains the stage."""
    if run.longer:
        _made(folder, command)


def _made(folder: Path, command: str) -> Record:
    record = Unfinished(folder).record or read_record(folder / BEST)
    if record is None:
        raise InputError(f"{folder}: no training to continue. Start it without --continue: {command}")
    return record


def saved_training(folder: Path, command: str) -> Shorter:
    """Returns the training in a stage's folder that can be continued; `command` trains the stage. Raises InputError if
    there is none, or its last state was not kept."""
    record, begun = _made(folder, command), Unfinished(folder).record
    path = (folder if begun is None else Unfinished(folder).last) / STATE_FILE
    if not path.is_file():
        raise InputError(
            f"{folder}: {record.stage} cannot be continued, since the state of its last epoch ({STATE_FILE}) was not "
            "kept (compute.keep_state=false, a copy without it, or an older version). Only training from the start "
            f"can give it more epochs: {command} --restart"
        )
    if begun is None and file_sha256(path) != record.state_sha256:
        raise InputError(
            f"{path}: damaged, or the state of another training, since it does not have the SHA-256 in the record of "
            f"{record.stage}. Restore a copy of it, or train from the start: {command} --restart"
        )
    return Shorter(folder, record, read_progress(path), is_finished=begun is None)


def shorter_of(stage: Stage) -> Shorter | None:
    """Returns the training of a stage that `--continue` asks to resume with other epochs or patience; None if that is
    not asked for, or if neither differs. Raises InputError if other settings differ, or for what `saved_training` and
    `require_more` refuse."""
    if not stage.run.longer or stage.run.on_the_way:
        return None
    record = _made(stage.folder, stage.command)
    if not different_settings(record, stage.settings):
        return None
    require_same(stage.folder, record, _with_ends_of(record, stage), stage.command)
    shorter = saved_training(stage.folder, stage.command)
    shorter.require_more(section_of(stage), stage.loop, stage.evaluate_every, stage.command)
    return shorter


def loop_before(stage: Stage, shorter: Shorter) -> OptimizerConfig:
    """Returns the loop's settings with the epochs and patience that the training was made with."""
    return stage.loop.model_copy(update=_ends(shorter.record, section_of(stage)))


def advice(stage: Stage, made: Record) -> str:
    """Returns a sentence suggesting `--continue` if the training, finished or not, could be continued with the stage's
    settings; else nothing."""
    state = (stage.folder if made.finished else stage.unfinished.last) / STATE_FILE
    is_longer = stage.loop.epochs > made.epochs and state.is_file()
    if not is_longer or different_settings(made, _with_ends_of(made, stage)):
        return ""
    start = f" from epoch {made.epochs}" if made.finished else ""
    return f" Or continue it{start} to epoch {stage.loop.epochs}: {stage.command} --continue"


def section_of(stage: Stage) -> str:
    """Returns the name of the loop's section in the settings, such as `llm_training`; empty if there is none."""
    return next((name for name, value in stage.settings.items() if value == stage.loop.recorded()), "")


def _ends(record: Record, section: str) -> dict[str, Any]:
    made = record.settings.get(section, {})
    return {name: made[name] for name in ENDS if name in made}


def _with_ends_of(record: Record, stage: Stage) -> dict[str, Any]:
    """Returns the settings of a stage with the epochs and patience of a record."""
    section = section_of(stage)
    return {**stage.settings, section: {**stage.settings.get(section, {}), **_ends(record, section)}}
