"""`cache import`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slt_cache.advice import CACHE_FILE, command
from slt_cache.cache_tools.layouts.registry import AUTO, LAYOUTS, NAMES

from .help import one_of
from .interruptions import Interrupted
from .options import Options, takes
from .output import MaxFileOption, bytes_of, failures_to_json, print_failures

if TYPE_CHECKING:
    from slt_cache.cache_tools.import_features import Imported, ImportedCache
    from slt_cache.features.spec import FeatureSpec


@takes("import", "json", left=Interrupted.RESUMES)
def import_(
    options: Options,
    folder: Annotated[
        Path, typer.Argument(help="Folder with features: a .tsv and arrays, or another layout (see --layout).")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Feature cache to write, or to add splits to; of several streams each has its own, such as "
            "feats_STREAM.h5. [default: a new feats.h5 in the working directory]",
        ),
    ] = None,
    layout: Annotated[
        str,
        typer.Option(
            "--layout",
            metavar="NAME",
            help=f"auto, or one of: {'; '.join(f'{name} ({files})' for name, files in LAYOUTS.items())}.",
            autocompletion=one_of(AUTO, *NAMES),
        ),
    ] = AUTO,
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels",
            help="Sentences: a .tsv with id, split and text (such as a manifest.tsv), or a label file (or folder of "
            "them) of How2Sign, SpaMo, Uni-Sign or GFSLT. [default: those in the folder]",
        ),
    ] = None,
    stream: Annotated[
        str | None,
        typer.Option(
            "--stream",
            "--suffix",
            help="Which features, if a clip has several: the suffix of their files, the name of their dataset or "
            "tensor, or an epoch (ssvp-slt). [default: those without a name, or all, each in its own cache]",
        ),
    ] = None,
    transpose: Annotated[
        bool, typer.Option("--transpose", help="The arrays are [C, N] on disk instead of [N, C].")
    ] = False,
    source: Annotated[
        str | None,
        typer.Option("--source", help="Encoder that made them. [default: the folder's name]"),
    ] = None,
    dtype: Annotated[str | None, typer.Option("--dtype", help="float16 or float32.")] = None,
    language: Annotated[
        str | None, typer.Option("--language", help="Language of the sentences: de_DE, en_XX ...")
    ] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Write the cache even if some files cannot be used.")
    ] = False,
    max_file_gb: MaxFileOption = None,
) -> None:
    """Make a feature cache from the features of another encoder or repository, so that stage 2 can be trained on them.

    Example: slt-cache cache import features --out i3d.h5 --source "I3D, BOBSL weights"
    """
    from slt_cache.cache_tools.import_features import import_features
    from slt_cache.cache_tools.layouts.base import Asked

    caches = import_features(
        folder,
        out,
        source=source,
        dtype=dtype,
        language=language,
        allow_missing=allow_missing,
        layout=layout,
        asked=Asked(labels, stream, transpose),
        max_bytes=bytes_of(max_file_gb),
    )
    shown = {one.stream: _cache_to_json(one) for one in caches}
    options.print(
        next(iter(shown.values())) if len(caches) == 1 else {"streams": shown},
        *(_line(split, one.spec, one.path) for one in caches for split in one.splits),
    )
    for one in caches:
        print_failures(one.splits, one.path)
    if any(split.failed for one in caches for split in one.splits) and not allow_missing:
        typer.echo(
            "Repair these files and run the same command: only files that have changed are read again. Or add "
            "--allow-missing, and the cache lists them as missing.",
            err=True,
        )
        raise typer.Exit(1)
    if not options.json:
        typer.echo(f"next: {_next(caches, out, language)}")


def _line(one: "Imported", spec: "FeatureSpec", out: Path) -> str:
    where = f"-> {out}" if one.written else "are kept, but not in the cache: some files cannot be used"
    return f"{one.split}: {one.rows:,} x {spec.dim} {spec.dtype} of {one.clips:,} clips {where}"


def _cache_to_json(one: "ImportedCache") -> dict[str, Any]:
    splits = {split.split: _to_json(split) for split in one.splits}
    return {"features": str(one.path), "spec": vars(one.spec), "splits": splits}


def _to_json(one: "Imported") -> dict[str, Any]:
    return {"clips": one.clips, "rows": one.rows, "written": one.written, "failed": failures_to_json(one.failed)}


def _next(caches: "list[ImportedCache]", out: Path | None, language: str | None) -> str:
    """Returns the next command; an exported cache that was converted back is only looked at."""
    first = caches[0]
    if first.spec.encoder_sha256 is not None:
        return command("cache info", first.path)
    settings = (f"features.level={first.spec.level}", f"llm.language={language or 'de_DE'}")
    paths = [one.path for one in caches]
    return command("train-llm", features=paths, run=Path("runs") / (out or Path(CACHE_FILE)).stem, set=settings)
