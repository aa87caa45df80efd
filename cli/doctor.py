"""`doctor`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from .options import Options, keep_few_kernels, takes


@takes("doctor", "device", "json")
def doctor(
    options: Options,
    check: Annotated[
        list[str] | None,
        typer.Option("--check", metavar="NAME", help="Run only this check, such as resume. Repeatable. [default: all]"),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for the page doctor.html and for doctor.json.")] = Path(
        "doctor"
    ),
) -> None:
    """Check this machine: every training, extraction, search, attention, resuming, precisions, memory and speed on its
    device, each with values and limits. Takes some minutes and needs no corpus. Exit 1 if a check fails.

    Example: slt-cache doctor
    """
    keep_few_kernels()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # or cuBLAS repeats no number
    from slt_cache.doctor.examine import examine
    from slt_cache.doctor.page import write_diagnosis
    from slt_cache.locks import require_writable

    require_writable(out)
    found = examine(options.device or "auto", check or ())
    page, json = write_diagnosis(found, out)
    options.print({**found.to_json(), "page": str(page), "json": str(json)}, *found.lines(), f"{page}, {json}")
    if found.failed:
        raise typer.Exit(1)
