"""`cache import`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slt_cache.advice import command

from .endings import Interrupted
from .options import Options, takes
from .output import failures_to_json, print_failures

if TYPE_CHECKING:
    from slt_cache.cache_tools.import_features import Imported
    from slt_cache.features.spec import FeatureSpec


@takes("import", "json", left=Interrupted.RESUMES)
def import_(
    options: Options,
    folder: Annotated[
        Path, typer.Argument(help="Folder with a .tsv (id, split, text) and a .npy or .pt for each clip.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Feature cache to write, or to add splits to.")],
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
) -> None:
    """Make a feature cache from the features of another encoder, so that stage 2 can be trained on them.

    Example: slt-cache cache import features --out i3d.h5 --source "I3D, BOBSL weights"
    """
    from slt_cache.cache_tools.import_features import import_features

    spec, done = import_features(
        folder, out, source=source, dtype=dtype, language=language, allow_missing=allow_missing
    )
    options.print(
        {"features": str(out), "spec": vars(spec), "splits": {one.split: _to_json(one) for one in done}},
        *(_line(one, spec, out) for one in done),
    )
    print_failures(done, out)
    if any(one.failed for one in done) and not allow_missing:
        typer.echo(
            "Repair these files and run the same command: only files that have changed are read again. Or add "
            "--allow-missing, and the cache lists them as missing.",
            err=True,
        )
        raise typer.Exit(1)
    if not options.json:
        typer.echo(f"next: {_next(out, spec, language)}")


def _line(one: "Imported", spec: "FeatureSpec", out: Path) -> str:
    where = f"-> {out}" if one.written else "are kept, but not in the cache: some files cannot be used"
    return f"{one.split}: {one.rows:,} x {spec.dim} {spec.dtype} of {one.clips:,} clips {where}"


def _to_json(one: "Imported") -> dict[str, Any]:
    return {"clips": one.clips, "rows": one.rows, "written": one.written, "failed": failures_to_json(one.failed)}


def _next(out: Path, spec: "FeatureSpec", language: str | None) -> str:
    """Returns the next command; an exported cache that was converted back is only looked at."""
    if spec.encoder_sha256 is not None:
        return command("cache info", out)
    settings = (f"features.level={spec.level}", f"llm.language={language or 'de_DE'}")
    return command("train-llm", features=out, run=Path("runs") / out.stem, set=settings)
