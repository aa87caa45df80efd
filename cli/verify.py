"""`verify`."""

from pathlib import Path
from typing import Annotated

import typer

from .options import Options, takes


@takes("verify", "json")
def verify(options: Options, run: Annotated[Path, typer.Argument(help="Run folder.")]) -> None:
    """Check a whole run against its hashes and checksums: config, manifest, weights, tokenizers, records, saved states,
    logs, feature caches and evaluations. Exit 1 if a file is missing, damaged or changed.

    Example: slt-cache verify runs/avatar
    """
    from slt_cache.cache_tools.verify_run import verify_run

    found = verify_run(run)
    intact = () if found.problems else (f"{run}: {found.files:,} files, none of them damaged",)
    options.print(
        {"ok": not found.problems, "problems": list(found.problems), "notes": list(found.notes)},
        *found.problems,
        *found.notes,
        *intact,
    )
    if found.problems:
        raise typer.Exit(1)
