"""`export-model`."""

from pathlib import Path
from typing import Annotated

import typer

from slt_cache.advice import command
from slt_cache.runs.variants import MODELS

from .help import one_of
from .options import RUN_OPTIONS, Options, require_used, takes


@takes("export-model", *RUN_OPTIONS, "json")
def export_model(
    options: Options,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="New folder; an existing one is refused.")],
    model: Annotated[
        str,
        typer.Option(
            "--model", help="Model of the run to export, as for eval --model.", autocompletion=one_of(*MODELS)
        ),
    ] = "llm",
    without_base: Annotated[
        bool,
        typer.Option(
            "--without-base",
            help="Name the LLM that LoRA adapts, with its SHA-256, instead of including it; translate --base then "
            "takes a copy of it.",
        ),
    ] = False,
) -> None:
    """Write one folder with all that translating a video takes, for others.

    It holds the visual encoder of each stream, adapter, LLM, tokenizer, settings of video and beam search, and a model
    card; it needs no run. An encoder that cannot be copied, such as a program, is named with its SHA-256.
    `slt-cache translate VIDEO --model DIR` and `slt_cache.Translator.from_pretrained("DIR")` read it.

    Example: slt-cache export-model --run runs/avatar --out model
    """
    from slt_cache.pipeline.export_model import export_model as export
    from slt_cache.progress import size_text

    opened = options.open_run()
    require_used(opened, "export-model")
    done = export(opened, out, model, not without_base)
    outside = [(one["encoder"], one["sha256"]) for one in done.outside.values()]
    outside += [] if done.base is None else [(done.base["llm"], done.base["sha256"])]
    lacks = [f"not included: {name}, SHA-256 {sha256}" for name, sha256 in outside]
    options.print(
        {
            "out": str(out),
            "model": model,
            "bytes": done.bytes,
            "base": done.base,
            "encoders_outside": done.outside,
            "files": done.files,
        },
        f"{model} of {opened.folder} -> {out}, {len(done.files):,} files, {size_text(done.bytes)}",
        *lacks,
        f"to use it: {command('translate VIDEO', model=out)}",
    )
