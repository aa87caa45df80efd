"""Sends signals to trainings at chosen moments, each in a separate process, and resumes them.

A separate program, so that the library is loaded once and it forks from a process without threads. Reads one JSON
object from stdin; answers each point with one JSON line: what was wrong afterwards, or null.

A point is {"stage": "visual" or "llm", "signal": number, "workers": n} and the moment, either {"event": x} - when this
share of all openings, renamings, syncs and deletions in the stage's folder has happened - or {"time": x} - after this
share of the seconds that an uninterrupted training takes. With {"restart": true} the stage is finished already and is
trained again with --restart; its old weights must be there after the kill, whole. SIGKILL goes to the training alone,
whose loaders must see to themselves; other signals to all of its processes, as a terminal or a cluster sends them."""

import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from slt_cache.cli import main as cli

from slt_cache.training.logs import read_metrics
from tests.helpers.killing import EVENTS, in_child

COMMANDS = {"visual": ["train-visual"], "llm": ["train-llm", "--features", "feats.h5"]}
SAVED = re.compile(r"interrupted (in epoch \d+, after \d+ of \d+ batches|after epoch \d+); saved in ")


def main() -> None:
    asked = json.load(sys.stdin)
    torch.set_num_threads(1)
    whole, folder = Path(asked["whole"]), Path(asked["folder"])
    measured: dict[str, tuple[int, float]] = {}
    for number, point in enumerate(asked["points"]):
        stage = point["stage"]
        if stage not in measured:
            measured[stage] = _measure(whole, folder / f"counted-{stage}", stage)
        complaint = _complaint(whole, folder / str(number), point, *measured[stage])
        print(json.dumps(complaint), flush=True)


def _measure(whole: Path, place: Path, stage: str) -> tuple[int, float]:
    """Returns events and seconds of an uninterrupted training that saves its state after every update."""
    _begin(whole, place, stage)
    events = place / "events"
    begun = time.monotonic()
    assert in_child(lambda: _train(place, stage, 0, count_into=events)) == 0
    seconds = time.monotonic() - begun
    assert not _difference(whole, place, stage), "saving within an epoch changes the training"
    return int(events.read_text()), seconds


def _begin(whole: Path, place: Path, stage: str, restart: bool = False) -> None:
    """Makes a run that has everything but this stage, or with `restart` everything."""
    shutil.copytree(whole, place)
    if restart:
        return
    shutil.rmtree(place / stage / "best")
    (place / stage / "metrics.jsonl").unlink()


def _complaint(whole: Path, place: Path, point: dict[str, Any], events: int, seconds: float) -> str | None:
    """Checks what a signal has left, resumes, and compares with the uninterrupted training."""
    stage, number, workers = point["stage"], point["signal"], point["workers"]
    restart: bool = point.get("restart", False)
    _begin(whole, place, stage, restart)
    said = place / "said"
    if "event" in point:
        at = 1 + int(point["event"] * events)
        code = in_child(lambda: _train(place, stage, workers, said, signal_at=(at, number), restart=restart))
    else:
        assert number == signal.SIGKILL
        code = in_child(lambda: _train(place, stage, workers, said, restart=restart), seconds * point["time"])
    if number != signal.SIGKILL:
        if code != 130:
            return f"exit code {code}: {said.read_text()}"
        if not SAVED.search(said.read_text()) or not (place / stage / "last" / "state.pt").is_file():
            return f"does not say what was saved: {said.read_text()}"
    elif code not in (-signal.SIGKILL, 0):
        return f"not killed: {code}: {said.read_text()}"
    if restart and not _has_result(whole, place, stage):
        return "the finished result was lost"
    if in_child(lambda: _train(place, stage, workers, said)) != 0:
        return f"the resumed training failed: {said.read_text()}"
    found = _difference(whole, place, stage)
    if found is None:
        shutil.rmtree(place)
    return found


def _has_result(whole: Path, place: Path, stage: str) -> bool:
    """Returns whether finished weights exist: under their name or, between the two renames of an exchange, next to
    it."""
    folders = [place / stage / name for name in ("best", "best.old.tmp")]
    wanted = {file.name: file.read_bytes() for file in (whole / stage / "best").glob("*.safetensors")}
    return any(
        all((folder / name).is_file() and (folder / name).read_bytes() == data for name, data in wanted.items())
        for folder in folders
    )


def _difference(whole: Path, place: Path, stage: str) -> str | None:
    for file in sorted((whole / stage / "best").glob("*.safetensors")):
        if file.read_bytes() != (place / stage / "best" / file.name).read_bytes():
            return f"{file.name}: other weights than those of the uninterrupted training"
    if _lines(whole / stage) != _lines(place / stage):
        return "other lines in metrics.jsonl"
    left = [str(path) for path in (place / stage).rglob("*") if path.name == "last" or ".tmp" in path.name]
    return f"left behind: {left}" if left else None


def _lines(stage: Path) -> list[dict[str, Any]]:
    return [{**line, "seconds": None} for line in read_metrics(stage / "metrics.jsonl")]


def _train(
    place: Path,
    stage: str,
    workers: int,
    said: Path | None = None,
    signal_at: tuple[int, int] | None = None,
    count_into: Path | None = None,
    restart: bool = False,
) -> None:
    """Runs the command like a user."""
    settings = ["--set", f"compute.workers={workers}", "--set", "compute.save_minutes=0"]
    again = ["--restart"] if restart else []
    words = [*COMMANDS[stage], "--run", str(place), "--device", "cpu", *settings, *again]
    call_program(words, said, place / stage, signal_at, count_into)


def call_program(
    words: Sequence[str],
    said: Path | None,
    watched: Path,
    signal_at: tuple[int, int] | None,
    count_into: Path | None,
) -> None:
    """Runs the program in this process, which is a child; its output goes to `said`."""
    os.dup2(os.open(os.devnull if said is None else said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    os.dup2(2, 1)  # the program's own stdout is for the answers
    seen = watch(watched, signal_at)
    sys.argv = ["slt-cache", *words]
    try:
        cli()
    except SystemExit as stop:
        if stop.code:
            os._exit(int(stop.code))
    finally:
        if count_into is not None:
            count_into.write_text(str(seen()))


def watch(folder: Path, signal_at: tuple[int, int] | None) -> Callable[[], int]:
    """Counts what happens in the folder; sends the signal at the given event number."""
    count = 0
    sync = os.fsync
    process = os.getpid()

    def happened() -> None:
        nonlocal count
        count += 1
        if signal_at is not None and count == signal_at[0] and os.getpid() == process:
            if signal_at[1] == signal.SIGKILL:
                os.kill(process, signal.SIGKILL)
            else:
                os.killpg(0, signal_at[1])

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in EVENTS and str(arguments[0]).startswith(str(folder)):
            happened()

    def syncing(descriptor: int) -> None:
        happened()
        sync(descriptor)

    sys.addaudithook(hook)
    os.fsync = syncing
    return lambda: count


if __name__ == "__main__":
    main()
