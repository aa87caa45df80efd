"""What follows from a run's text before anything is trained: the small LLM's tokenizer, the trimmed LLM.

It is made in a folder of its own next to the place where it belongs, is used from there, and takes its place when the
training that needs it starts. A command that fails before that leaves everything as it was."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from slt_cache.checkpoints.named_files import named_files
from slt_cache.checkpoints.record import Record, read_record, require_same, save_record, whole_record
from slt_cache.config import differences
from slt_cache.distributed.processes import is_main_process
from slt_cache.folders import TEMPORARY, move_into_place
from slt_cache.progress import log
from slt_cache.runs.begin_from import is_of_other_run
from slt_cache.runs.run import Run
from slt_cache.runs.unfinished import BEST, Unfinished, discard
from slt_cache.runs.variants import TRAININGS


class Derived:
    """The derived folders of one command. As a context manager it deletes what was made and not kept."""

    def __init__(self, run: Run, command: str, restart: bool):
        """`command` is what the user called, to be advised with --restart."""
        self.run = run
        self.command = command
        self.restart = restart
        self._made: dict[Path, Path] = {}

    def __enter__(self) -> "Derived":
        return self

    def __exit__(self, *_: object) -> None:
        if is_main_process():
            for aside in self._made.values():
                discard(aside)

    def ensure(self, place: Path, stage: str, settings: dict[str, Any], make: Callable[[Path], None]) -> Path:
        """Returns a folder that was made with these settings: `place`, or a new one that `make` has filled.

        Raises InputError if `place` was made with other settings, unless it is to be replaced: with `restart`, or
        because nothing has been trained with it."""
        aside = place.with_name(f"{place.name}.next{TEMPORARY}")
        held = whole_record(place) if self.restart else read_record(place)
        if held is not None and not differences(held.settings, settings):
            if is_main_process():
                discard(aside)  # a killed command may have left it
            return place
        if held is not None and not self.restart and has_trained(self.run):
            require_same(place, held, settings, self.command)
        if is_main_process():
            self._made[place] = aside
        begun = whole_record(aside)
        if begun is None or differences(begun.settings, settings):
            discard(aside)
            make(aside)
            save_record(aside, Record(stage, settings, finished=True, named=named_files(self.run.config)))
        return aside

    @property
    def replaces(self) -> bool:
        """Whether what was made takes the place of something."""
        return any(place.exists() for place in self._made)

    def keep(self) -> None:
        """Puts everything that was made in its place, on the leader."""
        while self._made:
            place, aside = self._made.popitem()
            if place.exists():
                log(f"{place} is replaced: it was made with other text or settings")
            move_into_place(aside, place)


def has_trained(run: Run) -> bool:
    """Whether any training of the run has finished or has a saved state; those that it was begun from are another
    run's."""
    folders = [run.folder / name for name in TRAININGS if not is_of_other_run(run.folder, name)]
    return any(read_record(folder / BEST) or Unfinished(folder).record for folder in folders)
