"""What the program says of itself, and what a shell completes: every command has its groups, its defaults, and an
example that is one."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from slt_cache.cli.help import OUTPUT, RUN
from slt_cache.cli.program import PANELS, program
from slt_cache.cli.score import PRESETS, PROTOCOLS

from slt_cache.config import PROTOCOLS as SCORING_PROTOCOLS
from slt_cache.config import shipped_configs
from slt_cache.corpora.registry import CORPORA
from slt_cache.metrics.presets import PRESETS as SCORING
from tests.helpers.commands import slt_cache

PROGRAM: Any = typer.main.get_command(program)
CLI = Path(__file__).parents[2] / "cli"
NOTHING_WITHOUT = {"--root", "--out", "--bootstrap", "--against", "--level", "--views", "--dtype", "--split", "--plot"}
NOTHING_WITHOUT |= {"--set", "--compare", "--language", "--metric"}
"""Options that have no default: without them the thing is not done, or the config decides."""


def commands(group: Any = PROGRAM, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something, with the words that name it."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


ALL = [pytest.param(path, command, id=" ".join(path)) for path, command in commands()]


def help_of(path: tuple[str, ...]) -> str:
    ran = slt_cache(*path, "--help")
    assert ran.code == 0
    return ran.out


@pytest.mark.parametrize(("path", "command"), ALL)
def test_every_help_has_one_example_which_is_a_command_that_parses(path: tuple[str, ...], command: Any) -> None:
    lines = [line.strip() for line in help_of(path).splitlines() if line.strip().startswith("Example: ")]
    assert len(lines) == 1
    words = shlex.split(lines[0].removeprefix("Example: "))
    assert words[: 1 + len(path)] == ["slt-cache", *path] or path == ("precompute",)
    command.make_context(" ".join(path), words[1 + len(path) :])


@pytest.mark.parametrize(("path", "command"), ALL)
def test_every_default_is_shown(path: tuple[str, ...], command: Any) -> None:
    text = " ".join(help_of(path).split())
    for param in command.params:
        if param.param_type_name != "option" or param.name == "help" or getattr(param, "is_flag", False):
            continue
        if param.default is None:
            told = "default: " in (param.help or "") or set(param.opts) & NOTHING_WITHOUT or param.required
            assert told, f"{path} {param.opts}: what happens without it?"
        else:
            assert f"default: {param.default}" in text, param.opts


@pytest.mark.parametrize(("path", "command"), ALL)
def test_options_that_commands_share_stand_in_groups_of_their_own(path: tuple[str, ...], command: Any) -> None:
    text = help_of(path)
    parts = text.split(f"{OUTPUT}:")
    assert len(parts) == 2
    assert "--verbose" in parts[1]
    assert "--help" in parts[1]
    assert "--json" not in parts[0]
    if "--run" in text:
        assert "--run" in parts[0].split(f"{RUN}:")[1]


def test_every_command_stands_in_a_panel_of_its_purpose() -> None:
    text = help_of(())
    assert "Commands:" not in text
    places = [text.index(f"{title}:") for title in PANELS]
    assert places == sorted(places)
    assert "..." not in text.partition("Options:")[2]


@pytest.mark.parametrize(("path", "command"), ALL)
def test_every_command_lies_in_the_file_of_its_name(path: tuple[str, ...], command: Any) -> None:
    """A group's file holds its small commands; the others have files of their own."""
    first, *_ = words = [word.replace("-", "_") for word in path]
    module = command.callback.__module__.rpartition(".")[2]
    assert module in {first, "_".join(words)} or path == ("precompute",)


def test_every_file_of_the_command_line_is_a_command_or_shared_by_several() -> None:
    shared = {"__init__", "program", "options", "output", "help", "endings", "interruptions"}
    named = {command.callback.__module__.rpartition(".")[2] for _, command in commands()}
    assert {path.stem for path in CLI.glob("*.py")} == named | shared


def test_what_is_completed_is_what_there_is() -> None:
    assert set(PRESETS) == set(SCORING)
    assert (*SCORING_PROTOCOLS,) == PROTOCOLS


def completed(line: str) -> list[str]:
    """What bash is told at the end of the line."""
    words = line.split(" ")
    environment = {"_SLT_CACHE_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    ran = subprocess.run(
        [sys.executable, "-c", "from slt_cache.cli import main; main()"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not ran.stderr
    return ran.stdout.split()


LORA = ("r", "alpha", "dropout", "targets", "dora", "rslora")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("slt-cache tr", ["train-visual", "train-llm", "train-joint", "translate"]),
        ("slt-cache cache ver", ["verify"]),
        ("slt-cache train-visual --con", ["--config", "--continue"]),
        ("slt-cache train-visual --config p", ["paper", "phoenix14t"]),
        ("slt-cache train-visual --config csl", ["csl_daily", "csl_news"]),
        ("slt-cache prepare ", list(CORPORA)),
        ("slt-cache eval --split ", ["train", "dev", "test"]),
        ("slt-cache eval --model joint", ["joint", "joint-temporal"]),
        ("slt-cache score --preset p", ["plain", "phoenix14t"]),
        ("slt-cache eval --set generation.num", ["generation.num_beams="]),
        ("slt-cache train-llm --set llm.lora.", [f"llm.lora.{name}=" for name in LORA]),
    ],
)
def test_a_shell_completes_commands_options_and_their_values(line: str, expected: list[str]) -> None:
    assert sorted(completed(line)) == sorted(expected)


def test_every_shipped_config_is_completed() -> None:
    assert sorted(completed("slt-cache eval --config ")) == sorted(shipped_configs())


def test_bash_itself_completes_with_the_script_that_is_offered(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash here")
    program = tmp_path / "slt-cache"
    program.write_text(f"#!{sys.executable}\nfrom slt_cache.cli import main\nmain()\n", encoding="utf-8")
    program.chmod(0o755)
    ask = (
        'eval "$(_SLT_CACHE_COMPLETE=source_bash slt-cache)"; COMP_WORDS=(slt-cache ext); COMP_CWORD=1; '
        "$(complete -p slt-cache | sed 's/.*-F \\([^ ]*\\).*/\\1/') slt-cache ext slt-cache; echo \"${COMPREPLY[@]}\""
    )
    path = f"{tmp_path}:{os.environ['PATH']}"
    ran = subprocess.run(
        [bash, "-c", ask], env={**os.environ, "PATH": path}, capture_output=True, text=True, check=True
    )
    assert ran.stdout.split() == ["extract-features"], ran.stderr
