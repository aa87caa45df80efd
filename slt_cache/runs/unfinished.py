"""Storage of unfinished trainings: `last/` in the folder of the stage holds state, record, metrics and the best weights
so far; the stage's own `best/` is replaced once, when training is complete.

A process may be killed between any two steps here; `settle` completes or undoes what it finds."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from slt_cache.checkpoints.record import Record, is_same_training, read_record, whole_record, write_record
from slt_cache.files import link_or_copy
from slt_cache.folders import TEMPORARY, move_into_place, remove, restore
from slt_cache.training.logs import METRICS_FILE
from slt_cache.training.state import STATE_FILE
from slt_cache.training.task import LAST

BEST = "best"
CLIPS_FILE = "clips.json"
"""File of the clips that a stage was trained on (pipeline/trained_clips.py)."""
OF_WEIGHTS = ("epochs", "tensorboard", STATE_FILE)
KEPT = (METRICS_FILE, CLIPS_FILE, *OF_WEIGHTS)
"""Files kept of a finished training besides its weights."""


class Unfinished:
    """Unfinished training of one stage on disk. One process at a time writes it, under the stage's lock."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.last = folder / LAST
        self._replaced = folder / f"{LAST}.old{TEMPORARY}"
        self._next = folder / f"{LAST}.next{TEMPORARY}"

    @property
    def best(self) -> Path:
        """Folder of the best weights so far, with their record."""
        return self.last / BEST

    @property
    def record(self) -> Record | None:
        """Record of a training that can be resumed; None if there is none. Without a saved state nothing has trained,
        whatever else a failed start left."""
        if not (self.last / STATE_FILE).is_file():
            return None
        return read_record(self.last)

    @property
    def _has_trained(self) -> bool:
        """Whether there is a training to resume, as far as its record is readable."""
        return (self.last / STATE_FILE).is_file() and whole_record(self.last) is not None

    @property
    def is_finished(self) -> bool:
        """Whether a finished training was killed before it became the stage's own."""
        record = whole_record(self.last)
        return record is not None and record.finished

    @property
    def _best_is_new(self) -> bool:
        """Whether last/best holds this training's weights, and not those they replaced, which have that name between
        the swap and the removal of `last/`."""
        best, own = read_record(self.best), read_record(self.last)
        return best is None or own is None or is_same_training(best, own)

    def settle(self) -> None:
        """Completes what a killed process started: a finished training becomes the stage's own, and one set aside for a
        restart comes back unless the restart has saved a state."""
        restore(self.folder / BEST)
        if self.is_finished:
            self._promote()
        elif self._replaced.exists():
            self.give_up()
        self.tidy()

    def tidy(self) -> None:
        """Deletes leftovers."""
        for path in (self._next, *(_gone(self.folder / name) for name in (LAST, *OF_WEIGHTS))):
            _delete(path)

    def begin(self, record: Record) -> None:
        """Makes room for a new training. An earlier unfinished one is set aside until the new one has a state."""
        if self._has_trained:
            discard(self._replaced)
            self.last.rename(self._replaced)
        discard(self.last)
        write_record(self.last, record)

    def lengthen(self, record: Record) -> None:
        """Makes the finished training an unfinished one again, from its kept state and with a new record; an unfinished
        one only gets the record. The finished weights stay until the longer training replaces them."""
        if self._has_trained:
            write_record(self.last, record)
            return
        done = read_record(self.folder / BEST)
        assert done is not None
        _delete(self._next)
        for name in (BEST, *KEPT):
            link_or_copy(self.folder / name, self._next / name)
        so_far = replace(done, settings=record.settings, finished=False, log_sha256=None, state_sha256=None)
        write_record(self._next / BEST, so_far)
        write_record(self._next, record)
        discard(self.last)
        self._next.rename(self.last)

    def state_saved(self) -> None:
        """Deletes the training that was set aside, since the new one can now be resumed."""
        if self._replaced.exists():
            discard(self._replaced)

    def give_up(self) -> None:
        """Undoes `begin` for a training that saved nothing."""
        if self._has_trained:
            self.state_saved()
            return
        discard(self.last)
        if self._replaced.exists():
            self._replaced.rename(self.last)

    def finish(self, record: Record) -> None:
        """Makes the best weights, whose record is on disk, the stage's own. The last state stays next to them if the
        record lists it, so that the training can be continued for more epochs."""
        own = replace(record, files={}, log_sha256=None)  # the files are those of last/best
        write_record(self.last, own)  # from here on, `settle` completes what a kill interrupts
        if record.state_sha256 is None:
            _delete(self.last / STATE_FILE)
        self._promote()

    def _promote(self) -> None:
        if self.best.exists():
            for name in OF_WEIGHTS:
                discard(self.folder / name)  # belongs to the replaced weights
            if self._best_is_new:
                move_into_place(self.best, self.folder / BEST)
        for name in KEPT:
            if (self.last / name).exists():
                move_into_place(self.last / name, self.folder / name)
        discard(self.last)


def metrics_file(folder: Path) -> Path:
    """Returns the metrics log of a stage: of its finished training, else of the unfinished one."""
    finished = folder / METRICS_FILE
    return finished if finished.is_file() else folder / LAST / METRICS_FILE


def _gone(path: Path) -> Path:
    return path.with_name(f"{path.name}.gone{TEMPORARY}")


def discard(path: Path) -> None:
    """Deletes a file or folder atomically: half a folder, left by a kill, would pass for a whole one."""
    gone = _gone(path)
    _delete(gone)
    if path.exists():
        path.rename(gone)
        _delete(gone)


def _delete(path: Path) -> None:
    with suppress(OSError):  # a read-only file system refuses even to delete nothing
        remove(path)
