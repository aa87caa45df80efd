"""`prepare`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .help import one_of
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

if TYPE_CHECKING:
    from slt_cache.pipeline.prepare import Preparation

CONFIGS = {
    "avatar": "avatar",
    "phoenix14t": "phoenix14t",
    "csl-daily": "csl_daily",
    "how2sign": "how2sign",
    "tsv": "tsv",
}
"""Shipped config of each corpus."""
EXAMPLES = 3
"""Of each kind of problem that are printed."""
MAX_CHARACTERS = 200
"""Of one example on the terminal."""


def register(app: typer.Typer) -> None:
    app.command("prepare")(guarded(prepare))


def prepare(
    corpus: Annotated[
        str,
        typer.Argument(
            help="avatar (drawn), phoenix14t, csl-daily, how2sign, or tsv (one's own).", autocompletion=one_of(*CONFIGS)
        ),
    ],
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
    """Make a run's manifest.tsv from a corpus, and say what is odd about it.

    Exit code 1: a split of an official corpus has no clip with a video; the manifest is written all the same.

    Example: slt-cache prepare phoenix14t --root PHOENIX-2014-T
    """
    from slt_cache.errors import InputError
    from slt_cache.pipeline.prepare import prepare as prepare_run

    if corpus not in CONFIGS:
        raise InputError(f"prepare {corpus}: no such corpus. Use {', '.join(CONFIGS)}.")
    overrides = [*(settings or []), f"corpus.name={corpus}"]
    if root is not None:
        overrides.append(f"corpus.root={json.dumps(str(root.absolute()), ensure_ascii=False)}")  # --set reads YAML
    opened = open_run(out or run, config, overrides, seed=seed, default=CONFIGS[corpus])
    done = prepare_run(opened)
    opened.save_config()
    if as_json:
        print_json(
            {
                "manifest": str(done.manifest),
                "counts": done.counts,
                "published": done.published,
                "problems": done.problems,
                "report": str(done.report),
            }
        )
    else:
        _print_short(done)
    if done.unusable:
        typer.echo(
            f"error: no clip with a video in {', '.join(done.unusable)}. {done.report} says what was missed.",
            err=True,
        )
        raise typer.Exit(1)


def _print_short(done: "Preparation") -> None:
    counts = ", ".join(f"{split} {count:,}{_published(done, split)}" for split, count in done.counts.items())
    typer.echo(f"{done.manifest}: {counts} clips")
    for kind, entries in done.findings.items():
        more = f", and {len(entries) - EXAMPLES:,} more" if len(entries) > EXAMPLES else ""
        examples = "; ".join(entry[:MAX_CHARACTERS] for entry in entries[:EXAMPLES])
        typer.echo(f"warning: {kind}: {len(entries):,} ({examples}{more})", err=True)
    if done.findings:
        typer.echo(f"all of them are listed in {done.report}", err=True)


def _published(done: "Preparation", split: str) -> str:
    """The published number behind the one that was found."""
    rows, *clips = done.published.get(split, [0])
    also = f" rows, {clips[0]:,} clips" if clips else ""
    return f" (published {rows:,}{also})" if rows else ""
