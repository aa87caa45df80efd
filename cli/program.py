"""The `slt-cache` program: its commands by purpose, one file each, and how it starts and ends."""

import os
import sys

import typer

from .app import app
from .bench import bench
from .cache import cache
from .compare import compare
from .config import config
from .demo import demo
from .doctor import doctor
from .endings import FAILED, Verbosity, end_quietly, explained, fall_silent, misused
from .eval import evaluate
from .export_attention import export_attention
from .export_model import export_model
from .extract_features import extract_features
from .help import Program
from .interruptions import INTERRUPTED, noticing_interruptions
from .llm import llm
from .prepare import prepare
from .report import report
from .reproduce import reproduce
from .score import score
from .slurm import slurm
from .sweep import sweep
from .train_joint import train_joint
from .train_llm import train_llm
from .train_visual import train_visual
from .translate import translate
from .verify import verify

PANELS = {
    "All at once": (demo,),
    "The pipeline, in this order": (prepare, train_visual, extract_features, train_llm, evaluate),
    "Results": (translate, app, report, score, compare, export_model, export_attention),
    "Tools and comparisons": (verify, doctor, config, cache, llm, slurm, bench, reproduce, sweep, train_joint),
}
"""Commands and groups of commands, by purpose, in the order in which --help lists them."""
PASSED_ON = {"ignore_unknown_options": True}
"""Click's setting for a command whose arguments are another command with options of its own."""

program = Program(
    help="Gloss-free sign language translation in two stages, built around a feature cache. To start: "
    "slt-cache demo. Options of a command: slt-cache COMMAND --help.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for panel, commands in PANELS.items():
    for one in commands:
        if isinstance(one, Program):
            program.add_typer(one, rich_help_panel=panel)
        else:
            program.command(rich_help_panel=panel, context_settings=PASSED_ON if one is slurm else None)(one)
program.command("precompute", hidden=True)(extract_features)


@program.callback(invoke_without_command=True)
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
        with noticing_interruptions():
            code = program(prog_name="slt-cache", standalone_mode=False)
        sys.stdout.flush()
        if code == INTERRUPTED:  # outside every command; commands say more
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
