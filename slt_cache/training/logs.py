"""Training logs: metrics.jsonl with one line per logging step and epoch, the same values for a tracker, and one line
per epoch on the terminal."""

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from slt_cache.checkpoints.record import LOG_FILE
from slt_cache.distributed.processes import is_main_process
from slt_cache.errors import InputError
from slt_cache.files import write_json, write_text
from slt_cache.metrics.base import Metric
from slt_cache.metrics.video_gap import gap_text
from slt_cache.reading import first_line, read_json
from slt_cache.training.progress_bar import duration, loss_text
from slt_cache.training.state import TrainerState
from slt_cache.training.trackers import Tracker
from slt_cache.write_errors import write_errors

METRICS_FILE = LOG_FILE
TRACKED_FILE = "tracked.json"
OF_TERM = "loss/"
"""Beginning of the keys of the terms of a loss besides the cross-entropy; the name of the term follows."""
NOTHING: Mapping[str, float] = {}


class MetricsLog:
    """Log of a training; on opening, lines after `progress`, left by a killed run, are removed. Only the main process
    writes."""

    def __init__(self, path: Path, metric: Metric, progress: TrainerState, tracker: Tracker | None = None):
        """Opens the log; `metric` is the one shown on the terminal."""
        self.path = path
        self.metric = metric
        self.tracker = tracker
        self.terminal: TextIO = sys.stderr
        self._tracked = (0, False)
        """Place of the last line that the tracker has, although its step may be done again."""
        if not is_main_process():
            return
        lines = read_metrics(path)
        kept = [line for line in lines if _done(line, progress)]
        if tracker is not None and tracker.keeps:
            self._tracked = _last_tracked(path.with_name(TRACKED_FILE), lines)
        write_text(path, "".join(json.dumps(line) + "\n" for line in kept))

    def step(
        self,
        progress: TrainerState,
        loss: float,
        lr: float,
        norms: Mapping[str, float],
        terms: Mapping[str, float] = NOTHING,
    ) -> None:
        """Logs the last optimizer step; `terms` are those of its loss besides the cross-entropy."""
        place = {"epoch": progress.epoch + 1, "step": progress.step}
        values = {"loss": loss, **_of_terms(terms), "lr": lr}
        self._append({"kind": "step", **place, **values, **norms})
        self._track({**_below("train", values), **norms}, progress.step)

    def epoch(
        self,
        name: str,
        progress: TrainerState,
        scores: dict[str, float],
        left: float | None,
        measured: Mapping[str, float] = NOTHING,
    ) -> None:
        """Logs the current epoch once it is complete; `left` is the remaining time in seconds, `measured` what the
        evaluation gave besides scores."""
        epoch, loss, terms, seconds = progress.epoch + 1, progress.mean_loss, progress.mean_terms, progress.seconds
        place = {"epoch": epoch, "step": progress.step}
        values = {"loss": loss, **_of_terms(terms), "seconds": seconds}
        self._append({"kind": "epoch", **place, **values, "dev": scores, **measured})
        tracked = {"epoch/number": epoch, **_below("epoch", values), **_below("dev", {**scores, **measured})}
        self._track(tracked, progress.step, is_epoch=True)
        reached = f", dev {self.metric.label} {scores[self.metric.key]:.{self.metric.decimals}f}" if scores else ""
        reached += gap_text(measured)
        rest = f", {duration(left)} left" if left else ""
        self.log(f"{name} epoch {epoch}: {loss_text(loss, terms)}{reached}, {seconds:.0f} s{rest}")

    def log(self, line: str) -> None:
        """Prints a line on the terminal, above any progress bar."""
        if is_main_process():
            tqdm.write(line, file=self.terminal)
            self.terminal.flush()

    def close(self) -> None:
        if self.tracker is not None:
            with self._tracking():
                self.tracker.close()

    def _append(self, line: dict[str, Any]) -> None:
        if not is_main_process():
            return
        with write_errors(self.path, "what was saved before is kept"), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _track(self, values: Mapping[str, float], step: int, is_epoch: bool = False) -> None:
        if self.tracker is not None and (step, is_epoch) > self._tracked:
            with self._tracking():
                self.tracker.log(values, step)

    def _tracking(self) -> AbstractContextManager[None]:
        return write_errors(self.path.with_name("the files of the tracker"), "what was saved before is kept")


def _last_tracked(path: Path, lines: Sequence[Mapping[str, Any]]) -> tuple[int, bool]:
    """Returns the place of the last line that an earlier run sent to the tracker, and keeps it in a file, since a run
    that is killed sooner than the one before it has fewer lines. The line of an epoch follows that of its last step."""
    places = [(line["step"], line["kind"] == "epoch") for line in lines[-1:]]
    if path.is_file():
        step, is_epoch = read_json(path)
        places.append((step, is_epoch))
    last = max(places, default=(0, False))
    write_json(path, last)
    return last


def _of_terms(terms: Mapping[str, float]) -> dict[str, float]:
    return {OF_TERM + name: value for name, value in terms.items()}


def _below(prefix: str, values: Mapping[str, float]) -> dict[str, float]:
    return {f"{prefix}/{name}": value for name, value in values.items()}


def _done(line: dict[str, Any], progress: TrainerState) -> bool:
    """Returns whether a line is part of the saved progress. An epoch is logged after its evaluation, possibly later
    than its last saved step."""
    return bool(line["epoch"] <= progress.epoch if line["kind"] == "epoch" else line["step"] <= progress.step)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Reads the lines of a metrics file, ignoring a last line truncated by a kill. Raises InputError for a damaged
    file, naming the line."""
    if not path.is_file():
        return []
    *whole, rest = path.read_bytes().split(b"\n")
    lines = [_read_line(path, number, line) for number, line in enumerate(whole, start=1)]
    with suppress(InputError):
        lines += [_read_line(path, len(whole) + 1, rest)]
    return lines


def _read_line(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads(line.decode("utf-8"))
        scores = value.get("dev", {}).values()
        numbers = [one for name, one in value.items() if name not in ("kind", "dev")]
        if not all(isinstance(one, int | float | None) for one in (*numbers, *scores)):
            raise ValueError("a value is not a number")
        if value["kind"] not in ("step", "epoch") or ("step" if value["kind"] == "step" else "epoch") not in value:
            raise ValueError("neither a step nor an epoch")
        return value
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{path}, line {number}: damaged ({first_line(error)}). Restore a copy of the file, or delete the line."
        ) from error
