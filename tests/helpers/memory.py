"""Extracts one video of the paper's size with an untrained encoder; prints the megabytes before it and at its peak as
JSON.

Run as a program: `python -m tests.helpers.memory VIDEO FOLDER`. Counts this process and its readers, and shared pages
once."""

import json
import sys
import threading
import time
from pathlib import Path

import psutil

from slt_cache.bench.extract import untrained_run
from slt_cache.checkpoints.visual import load_visual
from slt_cache.config import load_config
from slt_cache.pipeline.extract import extract


def megabytes() -> float:
    this = psutil.Process()
    total = 0
    for process in (this, *this.children(recursive=True)):
        try:
            total += process.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    return total / 1e6


def main() -> None:
    video, folder = Path(sys.argv[1]), Path(sys.argv[2])
    config = load_config("paper", ["compute.workers=2", "light_t.size=tiny", "compute.device=cpu"])
    run = untrained_run(folder / "run", config, [video])
    model = load_visual(run.visual / "best")
    before = most = megabytes()
    ended = threading.Event()

    def watch() -> None:
        nonlocal most
        while not ended.is_set():
            most = max(most, megabytes())
            time.sleep(0.1)

    watching = threading.Thread(target=watch)
    watching.start()
    [done] = extract(run, ["train"], folder / "feats.h5")
    ended.set()
    watching.join()
    del model  # it was there while `before` was taken
    print(json.dumps({"before": before, "most": most, "rows": done.frames}))


if __name__ == "__main__":
    main()
