"""`llm pretrain`, `llm trim` and `llm merge`: language models made small from text, made smaller for a text, or with
LoRA's weights in their own."""

from pathlib import Path
from typing import Annotated

import typer

from slt_cache.advice import CONFIG_FILE, command
from slt_cache.distributed.processes import join, main_process_first

from .endings import Interrupted
from .help import Program
from .options import (
    ConfigOption,
    DeviceOption,
    DryRunOption,
    JsonOption,
    RestartOption,
    RunOption,
    SeedOption,
    SetOption,
    VerboseOption,
    guarded,
    open_run,
    print_dry_run,
    print_json,
    require_used,
)
from .training import print_trained


def register(app: typer.Typer) -> None:
    llm = Program(help="Make language models.")
    llm.command("pretrain")(guarded(pretrain, Interrupted.RESUMES))
    llm.command("trim")(guarded(trim))
    llm.command("merge")(guarded(merge))
    app.add_typer(llm, name="llm")


def pretrain(
    run: RunOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    device: DeviceOption = None,
    seed: SeedOption = None,
    restart: RestartOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Pre-train a small MBart from text alone, by denoising.

    Example: slt-cache llm pretrain --set llm_pretraining.text=sentences.txt
    """
    from slt_cache.pipeline.prepare import ensure_clips
    from slt_cache.pipeline.prepare_llm import pretrain as pretrain_run
    from slt_cache.pipeline.prepare_llm import small_llm

    opened = open_run(run, config, settings, device, seed, draws=True)
    require_used(opened, "llm pretrain", saves=True)
    if dry_run:
        small_llm(opened)
        print_dry_run(opened, "llm pretrain", as_json)
        return
    small_llm(opened)  # before the corpus is drawn
    join()
    record = pretrain_run(opened, main_process_first(lambda: ensure_clips(opened)), restart)
    print_trained(record, opened.pretrained, as_json, opened.command("train-llm --features feats.h5"))


def trim(
    name: Annotated[str, typer.Option("--name", help="Folder of the model, or its name on the hub.")],
    text: Annotated[
        Path,
        typer.Option(
            "--text",
            help="A manifest.tsv, whose train split decides what is kept and whose other splits are counted; "
            "or a text file with one sentence a line.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder to write; an earlier trimmed model there is replaced.")],
    keep_characters: Annotated[
        bool, typer.Option("--keep-characters", help="Keep every single character of the text's scripts too.")
    ] = False,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Cut the vocabulary of an LLM down to what the train sentences need.

    Example: slt-cache llm trim --name facebook/mbart-large-cc25 --text runs/phoenix14t/manifest.tsv --out mbart-small
    """
    from slt_cache.pipeline.trim_llm import read_splits, summary, trim_llm

    train, held_out = read_splits(text)
    report = trim_llm(name, train, held_out, out, keep_characters)
    if as_json:
        print_json(report.to_json())
        return
    typer.echo(summary(report))
    run = text.parent if (text.parent / CONFIG_FILE).is_file() else None
    typer.echo(f"next: {command('train-llm', set=f'llm.name={out}', run=run)}")


def merge(
    out: Annotated[Path, typer.Option("--out", help="Folder to write; it must not be there yet.")],
    run: RunOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Write the trained LLM with its LoRA weights merged into it: the same translator without peft.

    Example: slt-cache llm merge --run runs/avatar --out merged
    """
    from slt_cache.pipeline.merge_lora import merge_lora

    opened = open_run(run, config, settings)
    require_used(opened, "llm merge")
    merge_lora(opened, out)
    if as_json:
        print_json({"out": str(out)})
    else:
        typer.echo(f"merged -> {out}")
