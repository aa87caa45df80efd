"""`cache info`, `show` and `verify`; with `exchange`, all of `cache`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import exchange
from .help import OUTPUT, GroupedCommand, Program
from .options import (
    DeviceOption,
    FeaturesOption,
    JsonOption,
    RunOption,
    SetOption,
    VerboseOption,
    find_cache,
    guarded,
    open_run,
    print_json,
    require_used,
)

if TYPE_CHECKING:
    from slt_cache.cache_tools.inspect import ShownClip

PathArgument = Annotated[
    Path | None,
    typer.Argument(help="Feature cache. [default: feats.h5 of the run folder]", show_default=False),
]
PlotOption = Annotated[
    Path | None,
    typer.Option(
        "--plot", help="Draw it into this .png, .svg or .pdf file.", show_default=False, rich_help_panel=OUTPUT
    ),
]


class IdCommand(GroupedCommand):
    """A command whose argument may begin with a hyphen, as many clip ids do: `-a1` is an id and no bundle of
    options. Ids that are -v or -h, or begin with two hyphens, need a `--` before them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if "--" not in args:
            ids = [word for word in args if word[:1] == "-" and word[:2] != "--" and word not in ("-", "-v", "-h")]
            args = [*(word for word in args if word not in ids), "--", *ids]
        return super().parse_args(ctx, args)


def register(app: typer.Typer) -> None:
    cache = Program(help="Look into feature caches, check and convert them.")
    cache.command("info")(guarded(info))
    cache.command("show", cls=IdCommand)(guarded(show))
    cache.command("verify")(guarded(verify))
    exchange.register(cache)
    app.add_typer(cache, name="cache")


def info(
    path: PathArgument = None,
    plot: PlotOption = None,
    run: RunOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Say what a feature cache holds and what made it; with --plot draw how long its clips are.

    Example: slt-cache cache info runs/avatar/feats.h5
    """
    from slt_cache.cache_tools.inspect import describe_cache, steps_of_clips
    from slt_cache.cache_tools.plots import draw_lengths, require_picture

    require_picture(plot)
    found = find_cache(path, run)
    splits = describe_cache(found)
    size = found.stat().st_size
    if plot is not None:
        draw_lengths(steps_of_clips(found), str(found), plot)
    if as_json:
        print_json({"path": str(found), "bytes": size, "splits": splits})
        return
    typer.echo(f"{found}: {_megabytes(size)}")
    specs = [metadata["spec"] for metadata in splits.values()]
    for split, metadata in splits.items():
        _print_split(split, metadata)
        if metadata["spec"] != specs[0]:
            _print_spec(metadata["spec"])
    for spec in specs[:1]:
        typer.echo("spec:")
        _print_spec(spec)


def _print_split(split: str, metadata: dict[str, Any]) -> None:
    views = "" if metadata["views"] == 1 else f" in {metadata['views']} views"
    without = metadata["clips_without_hours"]
    hours = "hours unknown" if metadata["hours"] is None else f"{metadata['hours']:,.3g} hours"
    if without and metadata["hours"] is not None:
        hours += f" (without {without:,} clips that have no frame rate)"
    whole = "complete" if metadata["complete"] else f"INCOMPLETE: {len(metadata['missing']):,} clips are missing"
    typer.echo(
        f"{split}: {metadata['clips']:,} clips{views}, {hours}, "
        f"{metadata['rows']:,} x {metadata['dim']} {metadata['dtype']}, "
        f"{_megabytes(metadata['bytes'])}, {whole}"
    )
    if metadata["lengths"] is not None:
        lengths = metadata["lengths"]
        typer.echo(f"  N: {lengths['min']:,} to {lengths['max']:,}, median {lengths['median']:g}")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size / 1e3:,.1f} kB"


def _print_spec(spec: dict[str, Any]) -> None:
    for name, value in spec.items():
        if value is not None:
            typer.echo(f"  {name}: {value}")


def show(
    clip_id: Annotated[str, typer.Argument(help="Clip of the cache.")],
    features: FeaturesOption = None,
    split: Annotated[str | None, typer.Option("--split", help="Where several have it.", show_default=False)] = None,
    plot: PlotOption = None,
    run: RunOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Show one clip as stage 2 would read it; with --plot draw how much its steps are like each other.

    Example: slt-cache cache show train-00000 --plot clip.png
    """
    from slt_cache.cache_tools.inspect import show_clip
    from slt_cache.cache_tools.plots import draw_similarity, require_picture

    require_picture(plot)
    found = find_cache(features, run)
    clip = show_clip(found, clip_id, split)
    if plot is not None:
        draw_similarity(clip, plot)
    if as_json:
        views = [vars(view) for view in clip.views]
        kept = ("split", "text", "level", "dim", "dtype")
        print_json({"id": clip_id, "path": str(found), **{name: getattr(clip, name) for name in kept}, "views": views})
        return
    _print_clip(clip)


def _print_clip(clip: "ShownClip") -> None:
    typer.echo(f"{clip.clip_id} ({clip.split}): {clip.text}")
    for view in clip.views:
        name = f"view {view.view}: " if len(clip.views) > 1 else ""
        frames = f"T {view.num_frames}" if view.num_frames else "T unknown"
        rate = f"{view.fps:g} frames a second" if view.fps else "frame rate unknown"
        typer.echo(f"  {name}{frames}, {rate}, N {view.steps}, C {clip.dim}, {clip.dtype}")
        neighbours = "only one step" if view.neighbours is None else f"{view.neighbours:.3f} between neighbours"
        typer.echo(
            f"    mean {view.mean:.4g}, std {view.std:.4g}, from {view.min:.4g} to {view.max:.4g}; "
            f"norm of a step {view.norm:.4g}; cosine {neighbours}"
        )


def verify(
    path: PathArgument = None,
    encoder: Annotated[
        bool, typer.Option("--encoder", help="Also extract some clips again, and compare: needs the run's videos.")
    ] = False,
    clips: Annotated[int, typer.Option("--clips", min=1, help="Of each split, for --encoder.")] = 8,
    run: RunOption = None,
    settings: SetOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Check every byte against its checksum; with --run also whether these are the features that the run asks for.
    Exit 1 where anything differs.

    Example: slt-cache cache verify runs/avatar/feats.h5
    """
    from slt_cache.cache_tools.inspect import verify_cache

    found = find_cache(path, run)
    result: dict[str, Any] = {}
    if run is None and not encoder:
        problems = verify_cache(found)
    else:
        from slt_cache.cache_tools.check import TOLERANCE, check_cache

        opened = open_run(run, None, settings, device)
        require_used(opened, "cache verify")
        check = check_cache(found, opened, clips if encoder else 0)
        problems = list(check.problems)
        result = {"compared": check.compared, "largest_error": check.largest_error}
    if as_json:
        print_json({"ok": not problems, "problems": problems, **result})
    else:
        typer.echo("\n".join(problems) if problems else f"{found}: every byte has its checksum")
        if result.get("largest_error") is not None:
            typer.echo(
                f"{result['compared']} clips extracted again: largest relative error {result['largest_error']:.2g} "
                f"(at most {TOLERANCE:g} is allowed)"
            )
        if not problems and run is not None:
            typer.echo(f"{run}: these are the features and clips that the run asks for")
    if problems:
        raise typer.Exit(1)
