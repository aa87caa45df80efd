"""The `slt-cache` program: its commands, and what becomes of errors."""

import os
import sys

import click
import typer

from slt_cache.errors import SltCacheError

from . import corpus, features, results, training, whole
from .options import Verbosity

INTERRUPTED = 130
"""Exit code of a program that Ctrl-C ended."""

app = typer.Typer(
    help="Gloss-free sign language translation in two stages, built around a feature cache. "
    "Four commands, in this order: train-visual, extract-features, train-llm, eval. All at once: demo.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for commands in (whole, corpus, training, features, results):
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
    try:
        code = app(standalone_mode=False, prog_name="slt-cache")
    except SltCacheError as error:
        if Verbosity.traceback:
            raise
        typer.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        typer.echo("interrupted; the same command goes on from what is finished.", err=True)
        sys.exit(INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)
