"""Sends signals to commands at chosen moments, each in a separate process, and resumes them.

A separate program, so that the library is loaded once and it forks from a process without threads. Reads one JSON
object from stdin; answers each point with one JSON line: what was wrong afterwards, or null.

A point is {"stage": "extract", "visual", "llm" or "joint", "signal": number, "workers": n} and the moment, either
{"event": x} - when this share of all openings, renamings, syncs and deletions in the stage's result has happened - or
{"time": x} - after this share of the seconds that the uninterrupted command takes. With {"streams": names} the stage
"llm" reads these caches of the run. With {"held": path} the cache has another split in it already; with {"restart":
true} a training is finished already and is trained again with --restart. Both must be there after the kill, whole.
SIGKILL goes to the command alone, whose readers and loaders must see to themselves; other signals to all of its
processes, as a terminal or a cluster sends them."""

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

from slt_cache.features.verify import cache_problems
from slt_cache.training.logs import read_metrics
from tests.helpers.preloaded import preload

EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")
COMMANDS = {
    "extract": ["extract-features"],
    "visual": ["train-visual", "--set", "compute.save_minutes=0"],
    "llm": ["train-llm", "--set", "compute.save_minutes=0"],
    "joint": ["train-joint", "--set", "compute.save_minutes=0"],
}
RESULTS = {"extract": "feats.h5", "visual": "visual", "llm": "llm", "joint": "joint"}
"""In the run folder; what is written on the way begins with the same name."""
SAVED = re.compile(r"interrupted (in epoch \d+, after \d+ of \d+ batches|after epoch \d+); saved in ")


def main() -> None:
    asked = json.load(sys.stdin)
    torch.set_num_threads(1)
    preload()
    whole, folder = Path(asked["whole"]), Path(asked["folder"])
    measured: dict[str, tuple[int, float]] = {}
    for number, point in enumerate(asked["points"]):
        stage = point["stage"]
        if stage not in measured:
            measured[stage] = _measure(whole, folder / f"counted-{stage}", point)
        complaint = _complaint(whole, folder / str(number), point, *measured[stage])
        print(json.dumps(complaint), flush=True)


def _measure(whole: Path, place: Path, point: dict[str, Any]) -> tuple[int, float]:
    """Returns events and seconds of an uninterrupted command; a training saves its state after every update."""
    point = {**point, "workers": 0, "restart": False}
    _begin(whole, place, point)
    events = place / "events"
    begun = time.monotonic()
    assert in_child(lambda: _run(place, point, count_into=events)) == 0, (place / "said").read_text()
    seconds = time.monotonic() - begun
    difference = _difference(whole, place, point["stage"])
    assert not difference, f"saving within an epoch changes the training: {difference}"
    count = int(events.read_text())
    assert count, "nothing was opened or renamed in the result"
    return count, seconds


def _begin(whole: Path, place: Path, point: dict[str, Any]) -> None:
    """Makes a run that has everything but this stage, or with `restart` everything."""
    shutil.copytree(whole, place)
    result = place / RESULTS[point["stage"]]
    if result.is_file():
        result.unlink()
        if point.get("held"):
            shutil.copy(point["held"], result)
    elif not point.get("restart"):
        shutil.rmtree(result / "best")
        (result / "metrics.jsonl").unlink()


def _complaint(whole: Path, place: Path, point: dict[str, Any], events: int, seconds: float) -> str | None:
    """Checks what a signal has left, resumes, and compares with the uninterrupted run."""
    _begin(whole, place, point)
    if "event" in point:
        at = 1 + int(point["event"] * events)
        code = in_child(lambda: _run(place, point, signal_at=(at, point["signal"])))
    else:
        assert point["signal"] == signal.SIGKILL
        code = in_child(lambda: _run(place, point), seconds * point["time"])
    if problem := _ended_badly(place, point, code) or _lost(whole, place, point):
        return problem
    if in_child(lambda: _run(place, {**point, "restart": False})) != 0:
        return f"the resumed command failed: {(place / 'said').read_text()}"
    found = _difference(whole, place, point["stage"])
    if found is None:
        shutil.rmtree(place)
    return found


def _ended_badly(place: Path, point: dict[str, Any], code: int) -> str | None:
    said = (place / "said").read_text() if (place / "said").is_file() else ""
    if point["signal"] == signal.SIGKILL:
        return None if code in (-signal.SIGKILL, 0) else f"not killed: {code}: {said}"
    if code != 130:
        return f"exit code {code}: {said}"
    if not SAVED.search(said) or not (place / point["stage"] / "last" / "state.pt").is_file():
        return f"does not say what was saved: {said}"
    return None


def _lost(whole: Path, place: Path, point: dict[str, Any]) -> str | None:
    """Returns what was finished before the signal and is damaged or gone after it."""
    cache = place / "feats.h5"
    if point["stage"] == "extract":
        if cache.exists() and (damage := cache_problems(cache)):
            return f"after the kill: {damage}"
        return "the splits that were there are gone" if point.get("held") and not cache.exists() else None
    if point.get("restart") and not _has_weights(whole / point["stage"], place / point["stage"]):
        return "the finished result was lost"
    return None


def _has_weights(whole: Path, stage: Path) -> bool:
    """Returns whether finished weights exist: under their name or, between the two renames of an exchange, next to
    it."""
    wanted = {file.relative_to(whole / "best"): file.read_bytes() for file in (whole / "best").rglob("*.safetensors")}
    return any(
        all((folder / name).is_file() and (folder / name).read_bytes() == data for name, data in wanted.items())
        for folder in (stage / "best", stage / "best.old.tmp")
    )


def _difference(whole: Path, place: Path, stage: str) -> str | None:
    result, wanted = place / RESULTS[stage], whole / RESULTS[stage]
    weights = [wanted] if stage == "extract" else sorted((wanted / "best").rglob("*.safetensors"))
    assert weights, f"{wanted}: has no weights to compare"
    for file in weights:
        if file.read_bytes() != (place / file.relative_to(whole)).read_bytes():
            return f"{file.name}: other bytes than those of the uninterrupted run"
    if stage != "extract" and _lines(wanted) != _lines(result):
        return "other lines in metrics.jsonl"
    left = {path.name for path in place.iterdir()} - {path.name for path in whole.iterdir()} - {"said", "events"}
    left |= {str(path) for path in result.rglob("*") if path.name == "last" or ".tmp" in path.name}
    return f"left behind: {sorted(left)}" if left else None


def _lines(stage: Path) -> list[dict[str, Any]]:
    return [{**line, "seconds": None} for line in read_metrics(stage / "metrics.jsonl")]


def _run(
    place: Path, point: dict[str, Any], signal_at: tuple[int, int] | None = None, count_into: Path | None = None
) -> None:
    """Runs the command like a user."""
    stage = point["stage"]
    words = [*COMMANDS[stage], "--run", str(place), "--device", "cpu", "--set", f"compute.workers={point['workers']}"]
    again = ["--restart"] if point.get("restart") else []
    again += ["--features", *point["streams"]] if "streams" in point else []
    call_program([*words, *again], place / "said", place / RESULTS[stage], signal_at, count_into)


def call_program(
    words: Sequence[str], said: Path, watched: Path, signal_at: tuple[int, int] | None, count_into: Path | None
) -> None:
    """Runs the program in this process, which is a child; its output goes to `said`."""
    os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
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
    """Counts what happens to paths that begin with `folder`; sends the signal at the given event number."""
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

    def syncing(fd: Any) -> None:
        happened()
        sync(fd)

    sys.addaudithook(hook)
    os.fsync = syncing
    return lambda: count


def in_child(work: Callable[[], None], kill_after: float | None = None) -> int:
    """Runs `work` in a forked process; returns its exit code. With `kill_after`, kills the process after that time."""
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        code = 1
        try:
            work()
            code = 0
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(code)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)  # its readers must see to themselves
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    main()
