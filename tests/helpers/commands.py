"""Runs the program as a user does, in this process: arguments in; exit code, stdout and stderr out."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import yaml

from slt_cache.corpora.avatar import write
from tests.helpers.drawn import write_drawn

TINY = Path(__file__).with_name("tiny.yaml")
drawn: Path | None = None
"""Folder for videos of the demo corpus, which are drawn once in a session of tests."""


def brief_config(folder: Path) -> Path:
    """Writes the config TINY, with one epoch of each training, into a folder."""
    sections = yaml.safe_load(TINY.read_text(encoding="utf-8"))
    for training in ("visual_training", "llm_training"):
        sections[training]["epochs"] = 1
    path = folder / "brief.yaml"
    path.write_text(yaml.safe_dump(sections), encoding="utf-8")
    return path


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


def slt_cache(*arguments: object) -> Ran:
    from slt_cache.cli import main

    out, err = io.StringIO(), io.StringIO()
    code = 0
    argv = ["slt-cache", *map(str, arguments)]
    with (
        mock.patch.object(sys, "argv", argv),
        mock.patch.object(os, "fsync", lambda descriptor: None),  # no power fails here, and disks are slow
        mock.patch.object(write, "_write_videos", partial(write_drawn, drawn) if drawn else write._write_videos),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
    return Ran(code, out.getvalue(), err.getvalue())


def interrupt_at(line_part: str, *arguments: object) -> Ran:
    """Runs the program in its own process group and presses Ctrl-C when a line of stderr has `line_part`."""
    command = [sys.executable, "-m", "slt_cache", *map(str, arguments)]
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert running.stderr is not None
    seen: list[str] = []
    for line in running.stderr:
        seen.append(line)
        if line_part in line:
            os.killpg(running.pid, signal.SIGINT)  # as a terminal does: the whole group
            break
    out, rest = running.communicate(timeout=60)
    return Ran(running.returncode, out, "".join(seen) + rest)


def complaints(whole: Path, folder: Path, points: list[dict[str, Any]]) -> list[str | None]:
    """What was wrong after each of the points at which `tests.helpers.killing` sends a signal."""
    asked = json.dumps({"whole": str(whole), "folder": str(folder), "points": points})
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.killing"],
        input=asked,
        capture_output=True,
        text=True,
        timeout=1500,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
