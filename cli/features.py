"""`extract-features`, also called `precompute`."""

from pathlib import Path
from typing import Annotated

import typer

from .endings import Interrupted
from .help import one_of
from .options import (
    ConfigOption,
    DeviceOption,
    FeaturesOption,
    JsonOption,
    RunOption,
    SetOption,
    VerboseOption,
    guarded,
    open_run,
    print_json,
    require_used,
    sleep_while_waiting,
)


def register(app: typer.Typer) -> None:
    app.command("extract-features")(guarded(extract_features, Interrupted.RESUMES))
    app.command("precompute", hidden=True)(guarded(extract_features, Interrupted.RESUMES))


def extract_features(
    split: Annotated[
        str,
        typer.Option("--split", help="train, dev, test or all.", autocompletion=one_of("train", "dev", "test", "all")),
    ] = "all",
    features: FeaturesOption = None,
    level: Annotated[str | None, typer.Option("--level", help="frame, sign or hidden.", show_default=False)] = None,
    views: Annotated[
        int | None, typer.Option("--views", help="Of each clip: one plain, the others augmented.", show_default=False)
    ] = None,
    dtype: Annotated[str | None, typer.Option("--dtype", help="float16 or float32.", show_default=False)] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Write the cache also where videos cannot be read.")
    ] = False,
    restart: Annotated[
        bool,
        typer.Option("--restart", help="Read all videos of the split again; the old features stay until it is whole."),
    ] = False,
    run: RunOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Run the frozen encoder once over every clip and cache its features.

    Killed at any moment, the same command goes on. Several processes, also of several machines on a shared file
    system: torchrun --nproc-per-node=4 -m slt_cache extract-features

    Example: slt-cache extract-features --split train
    """
    sleep_while_waiting()
    from slt_cache.pipeline.extract import extract, splits_to_extract
    from slt_cache.pipeline.failures import failures_file

    chosen = {"level": level, "views": views, "dtype": dtype}
    named = [f"features.{name}={value}" for name, value in chosen.items() if value is not None]
    opened = open_run(run, config, settings, device, own=named)
    require_used(opened, "extract-features")
    cache = opened.features if features is None else Path(features)
    done = extract(opened, splits_to_extract(opened, split), cache, allow_missing=allow_missing, restart=restart)
    failed = [(one, failure) for one in done for failure in one.failed]
    if as_json and done:
        print_json(
            {
                "features": str(cache),
                "split": split,
                "clips": sum(one.clips for one in done),
                "frames": sum(one.frames for one in done),
                "seconds": round(sum(one.seconds for one in done), 1),
                "failed": [{"id": failure.clip_id, "reason": failure.reason} for _, failure in failed],
            }
        )
    elif done:
        for one in done:
            how = f"in {one.seconds:.0f} s" if one.fresh else "are there already"
            where = f"-> {cache}" if one.written else "are kept, but not in the cache: clips are missing"
            typer.echo(f"{one.split}: {one.frames:,} steps of {one.clips:,} clips {how} {where}")
        typer.echo(f"next: {opened.train_command(cache)}")
    for one in done:
        for failure in one.failed:
            typer.echo(f"failed\t{failure.clip_id}\t{failure.reason}", err=True)
        if one.failed:
            typer.echo(
                f"{one.split}: {len(one.failed)} clips have no features; the table: {failures_file(cache, one.split)}",
                err=True,
            )
    if failed and not allow_missing:
        typer.echo(
            "Repair these videos and run the same command: only they are read again. Or add --allow-missing, and the "
            "cache lists them as missing.",
            err=True,
        )
        raise typer.Exit(1)
