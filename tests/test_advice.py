"""Commands in messages: with the program's name, quoted, and for the run and the files that they are about."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from slt_cache.advice import cache_command, command, program
from slt_cache.config import Config
from slt_cache.pipeline.run import Run


def test_the_program_is_named_as_it_was_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/slt-cache", "eval"])
    assert program() == "slt-cache"
    monkeypatch.setattr(sys, "argv", ["/lib/python3/site-packages/slt_cache/__main__.py", "eval"])
    assert command("eval", run="a") == "python -m slt_cache eval --run a"
    monkeypatch.setattr(sys, "argv", ["/usr/bin/pytest"])
    assert program() == "slt-cache"


def test_words_are_quoted_if_a_shell_would_split_them() -> None:
    advised = command("extract-features --split all", features=Path("my runs/feats.h5"), run="it's", set=["a.b=1 2"])
    named = ["--features", "my runs/feats.h5", "--run", "it's", "--set", "a.b=1 2"]
    assert shlex.split(advised)[1:] == ["extract-features", "--split", "all", *named]
    assert command("eval", run="-odd", restart=True, features=None) == "slt-cache eval --run=-odd --restart"


def test_a_command_about_a_cache_is_for_the_run_that_it_lies_in(tmp_path: Path) -> None:
    assert cache_command("cache verify", tmp_path / "feats.h5") == f"slt-cache cache verify --run {tmp_path}"
    other = tmp_path / "half.h5"
    assert cache_command("eval", other) == f"slt-cache eval --features {other}"
    (tmp_path / "config.yaml").touch()
    assert cache_command("eval", other) == f"slt-cache eval --features {other} --run {tmp_path}"


def test_a_runs_commands_name_it() -> None:
    run = Run(Path("my runs/a"), Config())
    assert run.command("train-llm", features="b c.h5") == "slt-cache train-llm --features 'b c.h5' --run 'my runs/a'"


def test_a_message_names_the_module_where_it_was_started_as_one(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "slt_cache", "cache", "info", tmp_path / "feats.h5"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    assert f"python -m slt_cache extract-features --split train --run {tmp_path}" in ran.stderr
