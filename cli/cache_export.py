"""`cache export`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slt_cache.advice import command
from slt_cache.cache_tools.layouts.registry import NAMES, TABLE

from .help import one_of
from .options import Options, takes

if TYPE_CHECKING:
    from slt_cache.cache_tools.export import Exported


@takes("export", "run", "json")
def export(
    options: Options,
    path: Annotated[Path, typer.Argument(help="Feature cache.")],
    out: Annotated[Path, typer.Argument(help="Folder to write; an earlier export there is replaced.")],
    file_format: Annotated[str, typer.Option("--format", help="npy or pt.")] = "npy",
    layout: Annotated[
        str,
        typer.Option(
            "--layout",
            metavar="NAME",
            help=f"Write as others keep features: {', '.join(NAMES)} (see cache import --help).",
            autocompletion=one_of(*NAMES),
        ),
    ] = TABLE,
    stream: Annotated[
        str | None,
        typer.Option(
            "--stream",
            "--suffix",
            help="Name of these features in the files of a layout, such as the suffix _overlap-8. [default: what SpaMo "
            "features were imported as; else the layout's own]",
        ),
    ] = None,
    split: Annotated[str | None, typer.Option("--split", help="Export only this split.")] = None,
    all_views: Annotated[bool, typer.Option("--all-views", help="Also export the augmented views.")] = False,
) -> None:
    """Write one file per clip, and a table of them.

    Example: slt-cache cache export feats.h5 features --format npy
    """
    from slt_cache.cache_tools.export import TABLE as TABLE_FILE
    from slt_cache.cache_tools.export import export_cache, export_layout
    from slt_cache.cache_tools.layouts.registry import layout_named
    from slt_cache.errors import InputError

    chosen, found = layout_named(layout), options.find_cache(path)
    if layout == TABLE and stream is None:
        done = export_cache(found, out, file_format, split, all_views)
    elif layout != TABLE and (all_views or file_format != "npy"):
        raise InputError(
            f"--layout {layout} holds one view of each clip, in its own format. Omit --all-views and --format."
        )
    else:
        done = export_layout(found, out, chosen, split, stream)
    splits = {one.split: {"clips": one.clips, "files": one.files} for one in done}
    options.print(
        {"out": str(out), "format": file_format, "splits": splits},
        *(f"{one.split}: {one.clips:,} clips -> {_where(out, layout, one)}" for one in done),
        *([f"table: {out / TABLE_FILE}"] if layout == TABLE else []),
        f"to convert them back: {_back(out, layout)}",
    )


def _where(out: Path, layout: str, one: "Exported") -> str:
    return f"{one.files:,} files in {out / one.split}" if layout == TABLE else f"{out}, layout {layout}"


def _back(out: Path, layout: str) -> str:
    return command("cache import", out, out="FILE.h5", layout=None if layout == TABLE else layout)
