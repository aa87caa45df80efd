"""`reproduce`."""

from pathlib import Path
from typing import Annotated

import typer

from .endings import Interrupted
from .help import RUN
from .options import (
    ConfigOption,
    DeviceOption,
    JsonOption,
    SetOption,
    VerboseOption,
    guarded,
    keep_few_kernels,
    print_json,
)


def register(app: typer.Typer) -> None:
    app.command("reproduce")(guarded(reproduce, Interrupted.RESUMES))


def reproduce(
    tables: Annotated[
        list[str],
        typer.Argument(metavar="TABLE...", help="table4 to table10, fig2, fig4, or all."),
    ],
    seeds: Annotated[str, typer.Option("--seeds", metavar="SEED,...", help="Each is a training of its own.")] = "0",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only the plan, and what it will take.")] = False,
    run: Annotated[
        Path | None,
        typer.Option(
            "--run",
            help="Folder. [default: runs/reproduce-<config name>]",
            show_default=False,
            rich_help_panel=RUN,
        ),
    ] = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Train what the paper's tables compare, and print ours beside the paper's figures.

    Without --config, on the drawn corpus avatar-rich. Killed, the same command goes on. Models are chosen on dev; the
    test split is scored once each.

    Example: slt-cache reproduce table4 --dry-run
    """
    keep_few_kernels()
    from slt_cache.reproduce.run_tables import estimated, order_of, plan_text
    from slt_cache.reproduce.run_tables import reproduce as reproduce_order

    order = order_of(tables, seeds, run, config, settings or [], device)
    estimates = estimated(order)
    if dry_run:
        if as_json:
            steps = [{"step": step.name, "seconds": round(estimates[step])} for step in order.steps]
            print_json({"run": str(order.root), "steps": steps, "seconds": round(sum(estimates.values()))})
        else:
            typer.echo(plan_text(order, estimates))
        return
    typer.echo(plan_text(order, estimates), err=True)
    results = reproduce_order(order, estimates)
    if as_json:
        print_json(results)
        return
    for table in results["tables"].values():
        typer.echo("\n" + table["text"])
    typer.echo(f"\nreport: {results['report']}")
