"""`report`."""

from pathlib import Path
from typing import Annotated

import typer

from .options import RUN_OPTIONS, Options, require_used, takes


@takes("report", *RUN_OPTIONS, "json")
def report(
    options: Options,
    compare: Annotated[
        list[Path] | None,
        typer.Option(
            "--compare",
            metavar="DIR",
            help="Another run folder, shown side by side with a paired significance test. Repeatable.",
        ),
    ] = None,
) -> None:
    """Write one HTML page about a run: scores, curves, lengths, and clips with the frames that each word attends to.

    Example: slt-cache report --run runs/avatar --compare runs/other
    """
    from slt_cache.report import write_report

    others = [Options(run=folder).open_run() for folder in compare or []]
    opened = options.open_run()
    require_used(opened, "report")
    page = write_report(opened, others)
    options.print({"report": str(page)}, f"report: {page}")
