"""`train-visual`, `train-llm` and `llm pretrain`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import (
    ConfigOption,
    DeviceOption,
    JsonOption,
    RestartOption,
    RunOption,
    SeedOption,
    SetOption,
    VerboseOption,
    guarded,
    open_run,
    print_json,
)

if TYPE_CHECKING:
    from pathlib import Path

    from slt_cache.checkpoints.record import Record


def register(app: typer.Typer) -> None:
    llm = typer.Typer(help="Make language models.", no_args_is_help=True, rich_markup_mode=None)
    app.command("train-visual")(guarded(train_visual))
    app.command("train-llm")(guarded(train_llm))
    llm.command("pretrain")(guarded(pretrain))
    llm.callback()(_llm)
    app.add_typer(llm, name="llm")


def _llm() -> None:
    """Make language models."""


def train_visual(
    run: RunOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    device: DeviceOption = None,
    seed: SeedOption = None,
    restart: RestartOption = False,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Stage 1: train the visual encoder with the light translator.

    Example: slt-cache train-visual --set visual_training.epochs=10
    """
    from slt_cache.pipeline.train_visual import train_visual as train

    opened = open_run(run, config, settings, device, seed)
    record = train(opened, restart)
    opened.save_config()
    _print(record, opened.visual, as_json, opened.command("extract-features --split train"))


def train_llm(
    features: Annotated[
        str, typer.Option("--features", help="Feature cache, looked up here and in the run folder.")
    ] = "feats.h5",
    run: RunOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    device: DeviceOption = None,
    seed: SeedOption = None,
    restart: RestartOption = False,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Stage 2: fine-tune the adapter and the LLM from the feature cache.

    Example: slt-cache train-llm --features feats.h5 --set llm.name=facebook/mbart-large-cc25
    """
    from slt_cache.pipeline.train_llm import train_llm as train

    opened = open_run(run, config, settings, device, seed)
    cache = opened.find_features(features)
    record = train(opened, cache, restart)
    named = "" if cache == opened.features else f" --features {cache}"
    if not opened.config.llm.pretrained:  # a control: the run's own config stays that of its main model
        _print(record, opened.scratch, as_json, opened.command(f"eval --model llm-from-scratch{named}"))
        return
    opened.save_config()
    _print(record, opened.llm, as_json, opened.command(f"eval{named}"))


def pretrain(
    run: RunOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    device: DeviceOption = None,
    seed: SeedOption = None,
    restart: RestartOption = False,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Pre-train a small MBart from text alone, by denoising.

    Example: slt-cache llm pretrain --set llm_pretraining.text=sentences.txt
    """
    from slt_cache.pipeline.language import pretrain as pretrain_run
    from slt_cache.pipeline.prepare import ensure_clips

    opened = open_run(run, config, settings, device, seed)
    record = pretrain_run(opened, ensure_clips(opened), restart)
    opened.save_config()
    _print(record, opened.small_mbart, as_json, opened.command("train-llm --features feats.h5"))


def _print(record: "Record", folder: "Path", as_json: bool, then: str) -> None:
    best = folder / "best"
    if as_json:
        result: dict[str, Any] = {"run": str(folder.parent), "best": str(best), "epochs": record.epochs}
        print_json({**result, "seconds": round(record.seconds, 1), "dev": record.dev or {}})
        return
    dev = f", dev BLEU-4 {record.dev['bleu4']:.2f}" if record.dev else ""
    typer.echo(
        f"{record.stage}: best of {record.epochs} epochs is {record.best_epoch}{dev} ({record.seconds:.0f} s) -> {best}"
    )
    typer.echo(f"next: {then}")
