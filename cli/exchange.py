"""`cache export`, `cache import` and `cache merge`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slt_cache.advice import command

from .endings import Interrupted
from .options import JsonOption, RunOption, VerboseOption, find_cache, guarded, print_json

if TYPE_CHECKING:
    from slt_cache.cache_tools.import_features import Imported
    from slt_cache.features.spec import FeatureSpec


def register(cache: typer.Typer) -> None:
    cache.command("export")(guarded(export))
    cache.command("import")(guarded(import_, Interrupted.RESUMES))
    cache.command("merge")(guarded(merge))


def export(
    path: Annotated[Path, typer.Argument(help="Feature cache.")],
    out: Annotated[Path, typer.Argument(help="Folder to write; an earlier export there is replaced.")],
    file_format: Annotated[str, typer.Option("--format", help="npy or pt.")] = "npy",
    split: Annotated[str | None, typer.Option("--split", help="This one alone.", show_default=False)] = None,
    all_views: Annotated[bool, typer.Option("--all-views", help="Also the augmented views.")] = False,
    run: RunOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Write one file a clip, and a table of them.

    Example: slt-cache cache export feats.h5 features --format npy
    """
    from slt_cache.cache_tools.export import TABLE, export_cache

    done = export_cache(find_cache(path, run), out, file_format, split, all_views)
    if as_json:
        splits = {one.split: {"clips": one.clips, "files": one.files} for one in done}
        print_json({"out": str(out), "format": file_format, "splits": splits})
        return
    for one in done:
        typer.echo(f"{one.split}: {one.clips:,} clips -> {one.files:,} files in {out / one.split}")
    typer.echo(f"table: {out / TABLE}")
    typer.echo(f"the way back: {command('cache import', out, out='FILE.h5')}")


def import_(
    folder: Annotated[
        Path, typer.Argument(help="Folder with a .tsv (id, split, text) and a .npy or .pt for each clip.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Feature cache to write, or to add splits to.")],
    source: Annotated[
        str | None, typer.Option("--source", help="What made them. [default: the folder's name]", show_default=False)
    ] = None,
    dtype: Annotated[str | None, typer.Option("--dtype", help="float16 or float32.", show_default=False)] = None,
    language: Annotated[
        str | None, typer.Option("--language", help="Of the sentences: de_DE, en_XX ...", show_default=False)
    ] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Write the cache also where files cannot be used.")
    ] = False,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Make a feature cache of features from elsewhere, so that stage 2 can be trained on them.

    Example: slt-cache cache import features --out i3d.h5 --source "I3D, BOBSL weights"
    """
    from slt_cache.cache_tools.import_features import import_features

    spec, done = import_features(
        folder, out, source=source, dtype=dtype, language=language, allow_missing=allow_missing
    )
    if as_json:
        print_json({"features": str(out), "spec": vars(spec), "splits": {one.split: _imported(one) for one in done}})
    for one in done:
        if not as_json:
            where = f"-> {out}" if one.written else "are kept, but not in the cache: some files cannot be used"
            typer.echo(f"{one.split}: {one.rows:,} x {spec.dim} {spec.dtype} of {one.clips:,} clips {where}")
        _print_failures(one, out)
    if any(one.failed for one in done) and not allow_missing:
        typer.echo(
            "Repair these files and run the same command: only what has changed is read again. Or add "
            "--allow-missing, and the cache lists them as missing.",
            err=True,
        )
        raise typer.Exit(1)
    if not as_json:
        typer.echo(f"next: {_next(out, spec, language)}")


def _imported(one: "Imported") -> dict[str, Any]:
    failed = [{"id": failure.clip_id, "reason": failure.reason} for failure in one.failed]
    return {"clips": one.clips, "rows": one.rows, "written": one.written, "failed": failed}


def _print_failures(one: "Imported", out: Path) -> None:
    from slt_cache.pipeline.failures import failures_file

    for failure in one.failed:
        typer.echo(f"failed\t{failure.clip_id}\t{failure.reason}", err=True)
    if one.failed:
        typer.echo(
            f"{one.split}: {len(one.failed)} clips have no features; the table: {failures_file(out, one.split)}",
            err=True,
        )


def _next(out: Path, spec: "FeatureSpec", language: str | None) -> str:
    """The command to type next; an exported cache that came back goes where it came from."""
    if spec.encoder_sha256 is not None:
        return command("cache info", out)
    settings = (f"features.level={spec.level}", f"llm.language={language or 'de_DE'}")
    return command("train-llm", features=out, run=Path("runs") / out.stem, set=settings)


def merge(
    paths: Annotated[list[Path], typer.Argument(help="Feature caches of one encoder.")],
    out: Annotated[Path, typer.Option("--out", help="File to write; must not be there yet.")],
    run: RunOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Put the splits of several caches into one file.

    Example: slt-cache cache merge train.h5 dev.h5 --out feats.h5
    """
    from slt_cache.cache_tools.merge import merge_caches

    clips = merge_caches([find_cache(path, run) for path in paths], out)
    if as_json:
        print_json({"out": str(out), "splits": {split: {"clips": count} for split, count in clips.items()}})
        return
    typer.echo(f"{out}: " + ", ".join(f"{split} {count:,}" for split, count in clips.items()) + " clips")
