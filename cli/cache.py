"""`cache`: its commands `info`, `show` and `verify`; the others have their own files."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .cache_export import export
from .cache_import import import_
from .cache_merge import merge
from .help import OUTPUT, PanelCommand, Program
from .options import Options, require_used, takes

if TYPE_CHECKING:
    from slt_cache.cache_tools.inspect import ShownClip

PathArgument = Annotated[
    Path | None,
    typer.Argument(help="Feature cache. [default: feats.h5 of the run folder]"),
]
PlotOption = Annotated[
    Path | None,
    typer.Option("--plot", help="Draw into this .png, .svg or .pdf file.", rich_help_panel=OUTPUT),
]


class IdCommand(PanelCommand):
    """A command whose argument may begin with a hyphen, as many clip ids do: `-a1` is an id and no bundle of
    options. Ids that are -v or -h, or begin with two hyphens, need a `--` before them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if "--" not in args:
            ids = [word for word in args if word[:1] == "-" and word[:2] != "--" and word not in ("-", "-v", "-h")]
            args = [*(word for word in args if word not in ids), "--", *ids]
        return super().parse_args(ctx, args)


@takes("info", "run", "json")
def info(
    options: Options,
    path: PathArgument = None,
    plot: PlotOption = None,
) -> None:
    """Print what a feature cache holds and what made it; with --plot, draw the lengths of its clips.

    Example: slt-cache cache info runs/avatar/feats.h5
    """
    from slt_cache.cache_tools.inspect import describe_cache, steps_of_clips
    from slt_cache.cache_tools.plots import draw_lengths, require_image
    from slt_cache.features.file import CacheFile

    require_image(plot)
    found = options.find_cache(path)
    file = CacheFile(found)
    splits = describe_cache(file)
    size = file.size
    if plot is not None:
        draw_lengths(steps_of_clips(file), str(found), plot)
    options.print({"path": str(found), "bytes": size, "splits": splits}, *_lines(found, size, splits))


def _lines(path: Path, size: int, splits: dict[str, Any]) -> Iterator[str]:
    yield f"{path}: {_megabytes(size)}"
    specs = [metadata["spec"] for metadata in splits.values()]
    for split, metadata in splits.items():
        yield from _split_lines(split, metadata)
        if metadata["spec"] != specs[0]:
            yield from _spec_lines(metadata["spec"])
    for spec in specs[:1]:
        yield "spec:"
        yield from _spec_lines(spec)


def _split_lines(split: str, metadata: dict[str, Any]) -> Iterator[str]:
    views = "" if metadata["views"] == 1 else f" in {metadata['views']} views"
    without = metadata["clips_without_hours"]
    hours = "hours unknown" if metadata["hours"] is None else f"{metadata['hours']:,.3g} hours"
    if without and metadata["hours"] is not None:
        hours += f" (without {without:,} clips that have no frame rate)"
    whole = "complete" if metadata["complete"] else f"INCOMPLETE: {len(metadata['missing']):,} clips are missing"
    yield (
        f"{split}: {metadata['clips']:,} clips{views}, {hours}, "
        f"{metadata['rows']:,} x {metadata['dim']} {metadata['dtype']}, {_megabytes(metadata['bytes'])}, {whole}"
    )
    if (lengths := metadata["lengths"]) is not None:
        yield f"  N: {lengths['min']:,} to {lengths['max']:,}, median {lengths['median']:g}"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size / 1e3:,.1f} kB"


def _spec_lines(spec: dict[str, Any]) -> Iterator[str]:
    return (f"  {name}: {value}" for name, value in spec.items() if value is not None)


@takes("show", "features", "run", "json")
def show(
    options: Options,
    clip_id: Annotated[str, typer.Argument(help="Id of the clip.")],
    split: Annotated[str | None, typer.Option("--split", help="Needed if several splits have this clip.")] = None,
    plot: PlotOption = None,
) -> None:
    """Show one clip as stage 2 would read it; with --plot, draw the similarity of its time steps.

    Example: slt-cache cache show train-00000 --plot clip.png
    """
    from slt_cache.cache_tools.inspect import show_clip
    from slt_cache.cache_tools.plots import draw_similarity, require_image

    require_image(plot)
    found = options.find_cache(options.features)
    clip = show_clip(found, clip_id, split)
    if plot is not None:
        draw_similarity(clip, plot)
    kept = {name: getattr(clip, name) for name in ("split", "text", "level", "dim", "dtype")}
    options.print(
        {"id": clip_id, "path": str(found), **kept, "views": [vars(view) for view in clip.views]}, *_clip_lines(clip)
    )


def _clip_lines(clip: "ShownClip") -> Iterator[str]:
    yield f"{clip.clip_id} ({clip.split}): {clip.text}"
    for view in clip.views:
        name = f"view {view.view}: " if len(clip.views) > 1 else ""
        frames = f"T {view.num_frames}" if view.num_frames else "T unknown"
        rate = f"{view.fps:g} frames per second" if view.fps else "frame rate unknown"
        yield f"  {name}{frames}, {rate}, N {view.steps}, C {clip.dim}, {clip.dtype}"
        neighbours = "only one step" if view.neighbours is None else f"{view.neighbours:.3f} between neighbours"
        yield (
            f"    mean {view.mean:.4g}, std {view.std:.4g}, from {view.min:.4g} to {view.max:.4g}; "
            f"norm of a step {view.norm:.4g}; cosine {neighbours}"
        )


@takes("verify", "run", "settings", "device", "json")
def verify(
    options: Options,
    path: PathArgument = None,
    encoder: Annotated[
        bool, typer.Option("--encoder", help="Also extract some clips again and compare them; needs the run's videos.")
    ] = False,
    clips: Annotated[int, typer.Option("--clips", min=1, help="Clips of each split to extract, for --encoder.")] = 8,
) -> None:
    """Check every byte against its checksum; with --run, also check that these are the features that the run asks for.
    Exit 1 if anything differs.

    Example: slt-cache cache verify runs/avatar/feats.h5
    """
    from slt_cache.cache_tools.inspect import verify_cache

    found = options.find_cache(path)
    result: dict[str, Any] = {}
    lines: list[str] = []
    if options.run is None and not encoder:
        _, problems = verify_cache(found)
    else:
        from slt_cache.cache_tools.check import TOLERANCE, check_cache

        opened = replace(options, command="cache verify").open_run()
        require_used(opened, "cache verify")
        check = check_cache(found, opened, clips if encoder else 0)
        problems = list(check.problems)
        result = {"compared": check.compared, "largest_error": check.largest_error}
        if check.largest_error is not None:
            lines.append(
                f"{check.compared} clips extracted again: largest relative error {check.largest_error:.2g} "
                f"(at most {TOLERANCE:g} is allowed)"
            )
    if not problems and options.run is not None:
        lines.append(f"{options.run}: these are the features and clips that the run asks for")
    options.print(
        {"ok": not problems, "problems": problems, **result},
        *(problems or [f"{found}: every byte matches its checksum"]),
        *lines,
    )
    if problems:
        raise typer.Exit(1)


cache = Program(info, name="cache", help="Inspect feature caches, check them, and convert them.")
cache.command(cls=IdCommand)(show)
for command in (verify, export, import_, merge):
    cache.command()(command)
