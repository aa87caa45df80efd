"""`extract-features`, also called `precompute`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slt_cache.threads import NONE

from .help import one_of
from .interruptions import Interrupted
from .options import RUN_OPTIONS, Options, require_used, takes
from .output import failures_to_json, print_failures

if TYPE_CHECKING:
    from slt_cache.pipeline.assembly import Extraction


@takes("extract-features", "features", *RUN_OPTIONS, "device", "json", left=Interrupted.RESUMES, spins=NONE)
def extract_features(
    options: Options,
    split: Annotated[
        str,
        typer.Option("--split", help="train, dev, test or all.", autocompletion=one_of("train", "dev", "test", "all")),
    ] = "all",
    encoder: Annotated[
        str | None,
        typer.Option(
            "--encoder",
            help="Encoder to use as it comes, without stage 1: resnet18, torchvision:NAME, hf:NAME, hf:FOLDER, ... "
            "[default: encoder.name of the config, or else that of stage 1]",
        ),
    ] = None,
    level: Annotated[str | None, typer.Option("--level", help="frame, sign or hidden.")] = None,
    views: Annotated[
        int | None,
        typer.Option("--views", help="Views of each clip: one plain, the others augmented."),
    ] = None,
    dtype: Annotated[str | None, typer.Option("--dtype", help="float16 or float32.")] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Write the cache even if some videos cannot be read.")
    ] = False,
    restart: Annotated[
        bool,
        typer.Option(
            "--restart", help="Read all videos of the split again; the old features stay until the new are complete."
        ),
    ] = False,
    join: Annotated[
        bool,
        typer.Option(
            "--join",
            help="Share the work with all processes that run this command on the same file, also on other machines; "
            "each may come and go at any time.",
        ),
    ] = False,
) -> None:
    """Run the frozen encoder once over every clip and cache its features.

    It is that of stage 1, or with --encoder one that is used as it comes and needs no stage 1.

    If it is killed, the same command resumes. To use several processes, also on several machines with a shared file
    system: torchrun --nproc-per-node=4 -m slt_cache extract-features, or --join in each of them, as in a job array.

    Example: slt-cache extract-features --split train
    """
    from slt_cache.features.place import on_disk
    from slt_cache.pipeline.extract import extract, require_level, splits_to_extract
    from slt_cache.pipeline.failures import what_to_do
    from slt_cache.runs.saved_settings import has_only_named_encoder

    chosen = {"encoder.name": encoder, "features.level": level, "features.views": views, "features.dtype": dtype}
    own = [f"{name}={value}" for name, value in chosen.items() if value is not None]
    opened = options.open_run(own=own)
    used = "extract-features --encoder" if has_only_named_encoder(opened) else "extract-features"
    require_used(opened, used, saves=not opened.config_file.is_file())
    if level is not None:
        require_level(opened)
    cache = opened.features if options.features is None else on_disk(options.features)
    splits = splits_to_extract(opened, split, join)
    done = extract(opened, splits, cache, allow_missing=allow_missing, restart=restart, join=join)
    if not done:
        return
    failed = [failure for one in done for failure in one.failed]
    options.print(
        {
            "features": str(cache),
            "split": split,
            "clips": sum(one.clips for one in done),
            "frames": sum(one.frames for one in done),
            "seconds": round(sum(one.seconds for one in done), 1),
            "failed": failures_to_json(failed),
        },
        *_lines(done, cache),
        f"next: {opened.train_command(cache)}",
    )
    print_failures(done, cache)
    if failed and not allow_missing:
        typer.echo(what_to_do(opened.config, failed), err=True)
        raise typer.Exit(1)


def _lines(done: Sequence["Extraction"], cache: Path) -> Iterator[str]:
    for one in done:
        how = f"in {one.seconds:.0f} s" if one.fresh else "already exist"
        where = f"-> {cache}" if one.written else "are kept, but not in the cache: clips are missing"
        yield f"{one.split}: {one.frames:,} steps of {one.clips:,} clips {how} {where}"
