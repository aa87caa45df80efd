"""`export-attention`."""

from pathlib import Path
from typing import Annotated

import typer

from slt_cache.runs.variants import MODELS

from .help import one_of
from .interruptions import Interrupted
from .options import RUN_OPTIONS, Options, require_used, takes


@takes("export-attention", *RUN_OPTIONS, "device", "json", left=Interrupted.RESUMES)
def export_attention(
    options: Options,
    split: Annotated[
        str, typer.Option("--split", help="train, dev or test.", autocompletion=one_of("train", "dev", "test"))
    ] = "test",
    model: Annotated[
        str, typer.Option("--model", help="Model of the run, as for eval --model.", autocompletion=one_of(*MODELS))
    ] = "llm",
    features: Annotated[
        list[str] | None,
        typer.Option(
            "--features",
            metavar="FILE ...",
            help="Feature cache; of a model of several streams, that of each, FILE or NAME=FILE. [default: as for "
            "eval]",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="[default: attention/SPLIT in the run folder]"),
    ] = None,
) -> None:
    """Write attention, reliability and hidden states of each clip as arrays.

    One .npz for each clip, with the names of the axes in the array `axes`. A stopped export resumes.

    Example: slt-cache export-attention --split dev --run runs/avatar
    """
    from slt_cache.pipeline.export_attention import export_attention as export
    from slt_cache.runs.streams import caches_named

    opened = options.open_run()
    require_used(opened, "export-attention")
    done = export(opened, split, None if not features else caches_named(opened, features), model, out)
    options.print(
        {"out": str(done.folder), "split": done.split, "clips": done.clips, "written": done.written},
        f"{done.split}, {done.clips:,} clips, {done.written:,} of them now -> {done.folder}",
    )
