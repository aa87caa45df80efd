"""The `slt-cache` program and its commands."""

import os
from typing import ClassVar

import typer

from . import cache, corpus, features, llm, reproduce, results, training, translating, webpage, whole
from .help import GroupedCommands, Program


class Commands(GroupedCommands):
    """What there is, by purpose."""

    groups: ClassVar = {
        "All at once": ("demo",),
        "The pipeline, in this order": ("prepare", "train-visual", "extract-features", "train-llm", "eval"),
        "Results": ("translate", "app", "report", "score"),
        "Tools and comparisons": ("cache", "llm", "bench", "reproduce", "train-joint"),
    }


app = Program(
    Commands,
    help="Gloss-free sign language translation in two stages, built around a feature cache. To begin with: "
    "slt-cache demo. What a command takes: slt-cache COMMAND --help.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for commands in (whole, corpus, training, llm, features, cache, results, translating, webpage, reproduce):
    commands.register(app)


@app.callback(invoke_without_command=True)
def version(
    show: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    if show:
        from slt_cache import __version__

        typer.echo(f"slt-cache {__version__}")
        raise typer.Exit


def main() -> None:
    """Runs the command line. Exit codes: 0 done, 1 failed on the way, 2 bad input, 130 interrupted."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    app(prog_name="slt-cache")
