"""`cache export`."""

from pathlib import Path
from typing import Annotated

import typer

from slt_cache.advice import command

from .options import Options, takes


@takes("export", "run", "json")
def export(
    options: Options,
    path: Annotated[Path, typer.Argument(help="Feature cache.")],
    out: Annotated[Path, typer.Argument(help="Folder to write; an earlier export there is replaced.")],
    file_format: Annotated[str, typer.Option("--format", help="npy or pt.")] = "npy",
    split: Annotated[str | None, typer.Option("--split", help="Export only this split.")] = None,
    all_views: Annotated[bool, typer.Option("--all-views", help="Also export the augmented views.")] = False,
) -> None:
    """Write one file per clip, and a table of them.

    Example: slt-cache cache export feats.h5 features --format npy
    """
    from slt_cache.cache_tools.export import TABLE, export_cache

    done = export_cache(options.find_cache(path), out, file_format, split, all_views)
    splits = {one.split: {"clips": one.clips, "files": one.files} for one in done}
    options.print(
        {"out": str(out), "format": file_format, "splits": splits},
        *(f"{one.split}: {one.clips:,} clips -> {one.files:,} files in {out / one.split}" for one in done),
        f"table: {out / TABLE}",
        f"to convert them back: {command('cache import', out, out='FILE.h5')}",
    )
