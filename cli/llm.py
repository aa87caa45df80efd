"""`llm`: `pretrain` a small language model on text, `trim` the vocabulary of a large one, `merge` LoRA weights."""

from pathlib import Path
from typing import Annotated

import typer

from slt_cache.advice import CONFIG_FILE, command
from slt_cache.distributed.processes import join, main_process_first

from .help import Program
from .interruptions import Interrupted
from .options import RUN_OPTIONS, TRAINING_OPTIONS, Options, require_used, takes
from .output import print_trained


@takes("pretrain", *TRAINING_OPTIONS, left=Interrupted.RESUMES)
def pretrain(
    options: Options,
    name: Annotated[
        str | None, typer.Option("--name", help="The LLM: folder, name on the hub, or a small one. [default: llm.name]")
    ] = None,
    objective: Annotated[
        str | None,
        typer.Option("--objective", help="denoising, causal or prefix. [default: llm_pretraining.objective]"),
    ] = None,
) -> None:
    """Train the LLM on text alone: a small MBart by denoising, a decoder-only LLM (causal, prefix) to adapt it.

    Example: slt-cache llm pretrain --set llm_pretraining.text=sentences.txt
    """
    from slt_cache.pipeline.prepare import ensure_clips
    from slt_cache.pipeline.pretrain_llm import pretrain as pretrain_run
    from slt_cache.pipeline.pretrain_llm import require_pretrainable

    named = {"llm.name": name, "llm_pretraining.objective": objective}
    own = [f"{setting}={value}" for setting, value in named.items() if value is not None]
    opened = options.open_run(own=own, draws=True)
    require_used(opened, "llm pretrain", saves=True)
    require_pretrainable(opened)  # before the corpus is drawn
    if options.dry_run:
        options.print_dry_run(opened, "llm pretrain")
        return
    join()
    record = pretrain_run(opened, main_process_first(lambda: ensure_clips(opened)), options.restart)
    print_trained(options, record, opened.pretrained, opened.command("train-llm --features feats.h5"))


@takes("trim", "json")
def trim(
    options: Options,
    name: Annotated[str, typer.Option("--name", help="Folder of the model, or its name on the hub.")],
    text: Annotated[
        Path,
        typer.Option(
            "--text",
            help="A manifest.tsv, whose train split decides what is kept and whose other splits are counted; "
            "or a text file with one sentence per line.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder to write; an earlier trimmed model there is replaced.")],
    keep_characters: Annotated[
        bool, typer.Option("--keep-characters", help="Also keep every single character of the text's scripts.")
    ] = False,
    prompt: Annotated[
        str | None,
        typer.Option("--prompt", help="Also keep the tokens of this value of llm.prompt; default: no prompt."),
    ] = None,
) -> None:
    """Trim the vocabulary of an LLM to what the train sentences need.

    Example: slt-cache llm trim --name facebook/mbart-large-cc25 --text runs/phoenix14t/manifest.tsv --out mbart-small
    """
    from slt_cache.config.llm import VIDEO
    from slt_cache.pipeline.trim_llm import read_splits, summary, trim_llm

    train, held_out = read_splits(text)
    prompts = [part for part in (prompt or "").split(VIDEO) if part]
    report = trim_llm(name, train, held_out, out, keep_characters, prompts)
    run = text.parent if (text.parent / CONFIG_FILE).is_file() else None
    options.print(report.to_json(), summary(report), f"next: {command('train-llm', set=f'llm.name={out}', run=run)}")


@takes("merge", *RUN_OPTIONS, "json")
def merge(
    options: Options,
    out: Annotated[Path, typer.Option("--out", help="Folder to write; it must not exist yet.")],
) -> None:
    """Write the trained LLM with its LoRA weights merged in: the same translator without peft.

    Example: slt-cache llm merge --run runs/avatar --out merged
    """
    from slt_cache.pipeline.merge_lora import merge_lora

    opened = options.open_run()
    require_used(opened, "llm merge")
    merge_lora(opened, out)
    options.print({"out": str(out)}, f"merged -> {out}")


llm = Program(pretrain, trim, merge, name="llm", help="Pre-train, trim and merge language models.")
