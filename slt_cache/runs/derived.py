"""Artifacts derived from a run's text before training: the small LLM's tokenizer, the trimmed LLM.

Each is made in a folder next to its final place, used from there, and moved into place when the training that needs it
starts. A command that fails earlier leaves everything unchanged."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from slt_cache.checkpoints.named_files import named_files
from slt_cache.checkpoints.record import Record, read_record, require_same, whole_record, write_record
from slt_cache.config import differences
from slt_cache.distributed.processes import is_main_process
from slt_cache.folders import TEMPORARY, move_into_place
from slt_cache.hashes import hashes_of
from slt_cache.progress import log
from slt_cache.runs.begin_from import is_of_other_run
from slt_cache.runs.run import Run
from slt_cache.runs.unfinished import BEST, Unfinished, discard
from slt_cache.runs.variants import TRAININGS


class Derived:
    """Derived folders of one command; on exit as a context manager, those made but not kept are deleted."""

    def __init__(self, run: Run, command: str, restart: bool):
        """Prepares the derived folders; `command` is the user's, suggested with --restart in messages."""
        self.run = run
        self.command = command
        self.restart = restart
        self._made: dict[Path, Path] = {}

    def __enter__(self) -> "Derived":
        return self

    def __exit__(self, *_: object) -> None:
        if is_main_process():
            for pending in self._made.values():
                discard(pending)
                with suppress(OSError):
                    pending.parent.rmdir()  # empty after a failed start

    def ensure(self, place: Path, stage: str, settings: dict[str, Any], make: Callable[[Path], None]) -> Path:
        """Returns a folder made with these settings: `place`, or a new one filled by `make`.

        Raises InputError if `place` was made with other settings, unless it may be replaced: with `restart`, or because
        nothing was trained with it."""
        pending = place.with_name(f"{place.name}.next{TEMPORARY}")
        existing = whole_record(place) if self.restart else read_record(place)
        if existing is not None and not differences(existing.settings, settings):
            if is_main_process():
                discard(pending)  # a killed command may have left it
            return place
        if existing is not None and not self.restart and has_trained(self.run):
            require_same(place, existing, settings, self.command)
        if is_main_process():
            self._made[place] = pending
        begun = whole_record(pending)
        if begun is None or differences(begun.settings, settings):
            discard(pending)
            make(pending)
            named = named_files(self.run.config)
            write_record(pending, Record(stage, settings, finished=True, named=named, files=hashes_of(pending)))
        return pending

    @property
    def replaces(self) -> bool:
        """Whether a new folder replaces an existing one."""
        return any(place.exists() for place in self._made)

    def keep(self) -> None:
        """Moves everything that was made into place, on the main process."""
        while self._made:
            place, pending = self._made.popitem()
            if place.exists():
                log(f"{place} is replaced, since it was made with other text or settings")
            move_into_place(pending, place)


def has_trained(run: Run) -> bool:
    """Returns whether any training of the run has finished or has a saved state, not counting those of a run it was
    started from."""
    folders = [run.folder / name for name in TRAININGS if not is_of_other_run(run.folder, name)]
    return any(read_record(folder / BEST) or Unfinished(folder).record for folder in folders)
