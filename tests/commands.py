"""Runs the program as a user does, in this process: arguments in; exit code, stdout and stderr out."""

import contextlib
import io
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

TINY = Path(__file__).with_name("tiny.yaml")


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


def slt_cache(*arguments: str | Path) -> Ran:
    from slt_cache.cli import main

    out, err = io.StringIO(), io.StringIO()
    code = 0
    argv = ["slt-cache", *map(str, arguments)]
    with mock.patch.object(sys, "argv", argv), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
    return Ran(code, out.getvalue(), err.getvalue())
