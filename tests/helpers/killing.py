"""Kills extractions with SIGKILL at chosen moments, each in a separate process.

A separate program, so that the library is loaded once and it forks from a process without threads. Reads one JSON
object from stdin; answers each point with one JSON line: what was wrong afterwards, or null.

A point is {"event": n} - killed at the n-th time that Python opens, renames, syncs or deletes something in the cache's
folder - or {"share": x} - killed after this share of the time that an uninterrupted extraction takes."""

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from slt_cache.features.verify import cache_problems
from slt_cache.pipeline.extract import extract, parts_folder
from slt_cache.runs.run import open_run

EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")


def main() -> None:
    asked = json.load(sys.stdin)
    torch.set_num_threads(1)
    run, folder = Path(asked["run"]), Path(asked["folder"])
    whole = folder / "whole"
    begun = time.monotonic()
    _begin(run, whole, asked["held"])
    in_child(lambda: _extract(run, whole, asked["workers"]))
    seconds = time.monotonic() - begun
    events = folder / "events"
    _begin(run, folder / "counted", asked["held"])
    in_child(lambda: _extract(run, folder / "counted", 0, count_into=events))
    total = int(events.read_text())
    for number, point in enumerate(asked["points"]):
        place = folder / str(number)
        _begin(run, place, asked["held"])
        if "event" in point:
            at = 1 + point["event"] % total
            in_child(lambda place=place, at=at: _extract(run, place, 0, kill_at=at))
        else:
            delay = seconds * point["share"]
            in_child(lambda place=place: _extract(run, place, asked["workers"]), delay)
        print(json.dumps(_complaint(run, whole, place, asked)), flush=True)


def _begin(run: Path, folder: Path, held: str | None) -> None:
    """Makes a folder for the cache, with the split `held` already in it, if given."""
    folder.mkdir(parents=True)
    if held is not None:
        shutil.copy(held, folder / "feats.h5")


def _complaint(run: Path, whole: Path, place: Path, asked: dict[str, Any]) -> str | None:
    """Checks what a kill has left, resumes, and compares with the uninterrupted run."""
    cache = place / "feats.h5"
    if cache.exists() and (damage := cache_problems(cache)):
        return f"after the kill: {damage}"
    if asked["held"] is not None and not cache.exists():
        return "after the kill: the splits that were there are gone"
    if in_child(lambda: _extract(run, place, asked["workers"])) != 0:
        return "the resumed extraction failed"
    left = [path.name for path in place.iterdir() if path.name != "feats.h5"]
    if left:
        return f"left behind: {left}"
    if cache.read_bytes() != (whole / "feats.h5").read_bytes():
        return "other bytes than those of the uninterrupted run"
    shutil.rmtree(place)
    return None


def _extract(run: Path, folder: Path, workers: int, kill_at: int | None = None, count_into: Path | None = None) -> None:
    opened = open_run(run, None, [f"compute.workers={workers}"], device="cpu")
    if kill_at is not None or count_into is not None:
        seen = _watch(folder, kill_at)
    extract(opened, ["train", "dev"], folder / "feats.h5")
    assert not parts_folder(folder / "feats.h5").exists()
    if count_into is not None:
        count_into.write_text(str(seen()))


def _watch(folder: Path, kill_at: int | None) -> Callable[[], int]:
    """Counts what happens in the folder; at event number `kill_at` this process dies."""
    count = 0
    sync = os.fsync

    def happened() -> None:
        nonlocal count
        count += 1
        if count == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in EVENTS and str(arguments[0]).startswith(str(folder)):
            happened()

    def syncing(descriptor: int) -> None:
        happened()
        sync(descriptor)

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
