"""`verify`."""

from pathlib import Path
from typing import Annotated

import typer

from .options import JsonOption, VerboseOption, guarded, print_json


def register(app: typer.Typer) -> None:
    app.command("verify")(guarded(verify))


def verify(
    run: Annotated[Path, typer.Argument(help="Run folder.", show_default=False)],
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Check a whole run against its hashes and checksums: config, manifest, weights, tokenizers, records, saved states,
    logs, feature caches and evaluations. Exit 1 where a file is missing, damaged or changed.

    Example: slt-cache verify runs/avatar
    """
    from slt_cache.cache_tools.verify_run import verify_run

    found = verify_run(run)
    if as_json:
        print_json({"ok": not found.problems, "problems": list(found.problems), "notes": list(found.notes)})
    else:
        for line in (*found.problems, *found.notes):
            typer.echo(line)
        if not found.problems:
            typer.echo(f"{run}: {found.files:,} files, all as they were written")
    if found.problems:
        raise typer.Exit(1)
