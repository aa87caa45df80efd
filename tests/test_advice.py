"""Commands in messages: with the program's name, quoted, and for the run and the files that they are about."""

import ast
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from slt_cache.advice import cache_command, command, program
from slt_cache.config import Config
from slt_cache.runs.run import Run


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


LIBRARY = Path(__file__).parents[1] / "slt_cache"
COMMANDS = (
    "(demo|prepare|train-visual|train-llm|train-joint|extract-features|eval|translate|app|report|score|verify|reproduce"
    "|config show|cache (info|show|verify|export|import|merge)|llm (pretrain|trim|merge)|bench [a-z]+)"
)
BY_HAND = re.compile(rf"\bslt-cache {COMMANDS}\b|\b{COMMANDS} --[a-z]")
"""A command in a message, with its program or its options."""


def by_hand(module: Path) -> Iterator[str]:
    """Texts with values in them that hold a command, but for those that `command` completes."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    made = {
        id(inner)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and getattr(call.func, "attr", getattr(call.func, "id", "")).endswith("command")
        for inner in ast.walk(call)
    }
    for text in ast.walk(tree):
        if isinstance(text, ast.JoinedStr) and id(text) not in made:
            parts = [str(part.value) for part in text.values if isinstance(part, ast.Constant)]
            yield from (f"{module.name}:{text.lineno}: {part}" for part in parts if BY_HAND.search(part))


def test_no_message_and_no_page_names_a_command_by_hand() -> None:
    """Its program may be another one (`python -m slt_cache`), its run and paths may need quotes."""
    assert BY_HAND.search("(extract-features --features NEW.h5)") and BY_HAND.search("<code>slt-cache eval --run")
    found = [line for module in sorted(LIBRARY.rglob("*.py")) for line in by_hand(module)]
    pages = {page.name: page.read_text(encoding="utf-8") for page in LIBRARY.rglob("*.jinja")}
    assert pages
    found += [name for name, text in pages.items() if BY_HAND.search(text)]
    allowed = "` of `slt-cache score`"  # a model card, which is read on other machines
    assert [line for line in found if allowed not in line] == []
