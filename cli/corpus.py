"""`prepare`."""

from pathlib import Path
from typing import Annotated

import typer

from .options import (
    ConfigOption,
    JsonOption,
    RunOption,
    SeedOption,
    SetOption,
    VerboseOption,
    guarded,
    open_run,
    print_json,
)

CORPORA = ("avatar", "tsv")


def register(app: typer.Typer) -> None:
    app.command("prepare")(guarded(prepare))


def prepare(
    corpus: Annotated[str, typer.Argument(help="avatar (the drawn demo corpus) or tsv (one's own manifest.tsv).")],
    root: Annotated[Path | None, typer.Option("--root", help="Folder of the corpus.", show_default=False)] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Run folder to write into; same as --run.", show_default=False),
    ] = None,
    run: RunOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    seed: SeedOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Make a run's manifest.tsv from a corpus.

    Example: slt-cache prepare tsv --root my-videos
    """
    from slt_cache.errors import InputError
    from slt_cache.pipeline.prepare import prepare as prepare_run

    if corpus not in CORPORA:
        raise InputError(f"prepare {corpus}: no such corpus. Use {' or '.join(CORPORA)}.")
    overrides = [*(settings or []), f"corpus.name={corpus}"]
    if root is not None:
        overrides.append(f"corpus.root={root.absolute()}")
    opened = open_run(out or run, config, overrides, seed=seed, default=corpus)
    done = prepare_run(opened)
    opened.save_config()
    if as_json:
        print_json(
            {
                "manifest": str(done.manifest),
                "counts": done.counts,
                "problems": done.problems,
                "report": str(done.report),
            }
        )
        return
    counts = ", ".join(f"{split} {count:,}" for split, count in done.counts.items())
    typer.echo(f"{done.manifest}: {counts} clips")
    for kind, count in done.problems.items():
        typer.echo(f"warning: {kind}: {count} (listed in {done.report})", err=True)
