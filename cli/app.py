"""The `slt-cache` program and its commands."""

import os
import sys
from typing import ClassVar

import typer

from . import (
    cache,
    corpus,
    features,
    llm,
    reproduce,
    results,
    settings,
    training,
    translating,
    verify,
    webpage,
    whole,
)
from .endings import FAILED, INTERRUPTED, end_quietly, explained, fall_silent, misused, noticing_ctrl_c
from .help import GroupedCommands, Program
from .options import Verbosity


class Commands(GroupedCommands):
    """What there is, by purpose."""

    groups: ClassVar = {
        "All at once": ("demo",),
        "The pipeline, in this order": ("prepare", "train-visual", "extract-features", "train-llm", "eval"),
        "Results": ("translate", "app", "report", "score"),
        "Tools and comparisons": ("verify", "config", "cache", "llm", "bench", "reproduce", "train-joint"),
    }


app = Program(
    Commands,
    help="Gloss-free sign language translation in two stages, built around a feature cache. To begin with: "
    "slt-cache demo. What a command takes: slt-cache COMMAND --help.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for commands in (
    whole,
    corpus,
    training,
    llm,
    features,
    cache,
    results,
    translating,
    webpage,
    settings,
    reproduce,
    verify,
):
    commands.register(app)


@app.callback(invoke_without_command=True)
def version(
    show: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    if show:
        from slt_cache import __version__

        typer.echo(f"slt-cache {__version__}")
        raise typer.Exit


def run() -> None:
    """Runs the command that the command line names, and exits with its code."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        with noticing_ctrl_c():
            code = app(prog_name="slt-cache", standalone_mode=False)
        sys.stdout.flush()
        if code == INTERRUPTED:  # outside of every command, which say more
            typer.echo("interrupted.", err=True)
    except BrokenPipeError:
        fall_silent()
        code = FAILED
    except Exception as error:
        explanation = misused(error) if hasattr(error, "format_message") else explained(error, "")
        if explanation is None or Verbosity.traceback:
            raise
        message, code = explanation
        typer.echo(message, err=True)
    finally:
        end_quietly()
    raise SystemExit(code or 0)
