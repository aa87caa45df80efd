"""`reproduce`."""

from pathlib import Path
from typing import Annotated

import typer

from .help import RUN
from .interruptions import Interrupted
from .options import Options, keep_few_kernels, takes


@takes("reproduce", "config", "settings", "device", "json", left=Interrupted.RESUMES)
def reproduce(
    options: Options,
    tables: Annotated[
        list[str],
        typer.Argument(
            metavar="TABLE...",
            help="table4 to table10, fig2, fig4, or all; besides those of the paper, llms, joint, objectives, methods "
            "and datasize.",
        ),
    ],
    seeds: Annotated[str, typer.Option("--seeds", metavar="SEED,...", help="Train once with each.")] = "0",
    clips: Annotated[
        str | None,
        typer.Option(
            "--clips", metavar="N,...", help="objectives: clips of the drawn corpus. [default: 100,200,400,800]"
        ),
    ] = None,
    objectives: Annotated[
        str | None,
        typer.Option(
            "--objectives",
            metavar="NAME+NAME,...",
            help="objectives, methods: terms of stage 1's loss in each row after the cross-entropy alone, such as "
            "contrastive,contrastive+signcl. [default: each alone, and GFSLT-VLP's together]",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the plan and what it will take.")] = False,
    run: Annotated[
        Path | None,
        typer.Option(
            "--run",
            help="Folder to work in. [default: runs/reproduce-<config name>]",
            rich_help_panel=RUN,
        ),
    ] = None,
) -> None:
    """Train what the paper's tables compare, and print the results next to those of the paper.

    Without --config, the drawn corpus avatar-rich is used. If it is killed, the same command resumes. Models are chosen
    on dev; each is scored once on test.

    Example: slt-cache reproduce table4 --dry-run
    """
    keep_few_kernels()
    from slt_cache.reproduce.planning import estimate
    from slt_cache.reproduce.run_tables import plan_text, request_of
    from slt_cache.reproduce.run_tables import reproduce as reproduce_order

    request = request_of(tables, seeds, run, options.config, options.settings or [], options.device, clips, objectives)
    estimates = estimate(request.steps, request.config)
    if dry_run:
        steps = [{"step": step.name, "seconds": round(estimates[step])} for step in request.steps]
        options.print(
            {"run": str(request.root), "steps": steps, "seconds": round(sum(estimates.values()))},
            plan_text(request, estimates),
        )
        return
    typer.echo(plan_text(request, estimates), err=True)
    results = reproduce_order(request, estimates)
    tables_text = [f"\n{table['text']}" for table in results["tables"].values()]
    options.print(results, *tables_text, f"\nreport: {results['report']}")
