"""`cache merge`."""

from pathlib import Path
from typing import Annotated

import typer

from .options import Options, takes
from .output import MaxFileOption, bytes_of


@takes("merge", "run", "json")
def merge(
    options: Options,
    paths: Annotated[list[Path], typer.Argument(help="Feature caches of one encoder.")],
    out: Annotated[Path, typer.Option("--out", help="File to write; it must not exist yet.")],
    max_file_gb: MaxFileOption = None,
) -> None:
    """Combine the splits of several caches in one file.

    Example: slt-cache cache merge train.h5 dev.h5 --out feats.h5
    """
    from slt_cache.cache_tools.merge import merge_caches

    clips = merge_caches([options.find_cache(path) for path in paths], out, bytes_of(max_file_gb))
    options.print(
        {"out": str(out), "splits": {split: {"clips": count} for split, count in clips.items()}},
        f"{out}: " + ", ".join(f"{split} {count:,}" for split, count in clips.items()) + " clips",
    )
