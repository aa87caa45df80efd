"""`train-visual` and `train-llm`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slt_cache.distributed.processes import is_main_process, join, main_process_first

from .endings import Interrupted
from .options import (
    AllowMissingOption,
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
    keep_few_kernels,
    open_run,
    print_dry_run,
    print_json,
    require_used,
)

if TYPE_CHECKING:
    from slt_cache.checkpoints.record import Record


def register(app: typer.Typer) -> None:
    app.command("train-visual")(guarded(train_visual, Interrupted.RESUMES))
    app.command("train-llm")(guarded(train_llm, Interrupted.RESUMES))
    app.command("train-joint")(guarded(train_joint, Interrupted.RESUMES))


def train_visual(
    run: RunOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    device: DeviceOption = None,
    seed: SeedOption = None,
    restart: RestartOption = False,
    dry_run: DryRunOption = False,
    allow_missing: AllowMissingOption = False,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Stage 1: train the visual encoder with the light translator.

    Example: slt-cache train-visual --set visual_training.epochs=10
    """
    keep_few_kernels()
    from slt_cache.pipeline.train_visual import train_visual as train

    opened = open_run(run, config, settings, device, seed, draws=True)
    require_used(opened, "train-visual", saves=True)
    if dry_run:
        print_dry_run(opened, "train-visual", as_json)
        return
    record = train(opened, restart, allow_missing)
    print_trained(record, opened.visual, as_json, opened.command("extract-features --split all"))


def train_llm(
    features: Annotated[
        str, typer.Option("--features", help="Feature cache, looked up here and in the run folder.")
    ] = "feats.h5",
    origin: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="DIR",
            help="Begin the new folder --run with the encoder, tokenizer, features and LLM of this run, by links. "
            "[default: what the folder --run holds]",
            show_default=False,
        ),
    ] = None,
    run: RunOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    device: DeviceOption = None,
    seed: SeedOption = None,
    restart: RestartOption = False,
    dry_run: DryRunOption = False,
    allow_missing: AllowMissingOption = False,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Stage 2: fine-tune the adapter and the LLM from the feature cache.

    Example: slt-cache train-llm --features feats.h5 --set llm.name=facebook/mbart-large-cc25
    """
    if origin is not None and dry_run:
        run = origin  # makes nothing, and all that is asked for lies there
    elif origin is not None:
        features = _begun_from(origin, run, features)
    imported = any(one.replace(" ", "") == "features.level=imported" for one in settings or [])
    opened = open_run(run, config, settings, device, seed, draws=not imported, begins=imported).with_own_seed()
    if opened.config.llm_training.unfreeze != "none":
        keep_few_kernels()
        require_used(opened, "train-llm unfrozen")
        if dry_run:
            print_dry_run(opened, "train-llm", as_json)
            return
        from slt_cache.pipeline.train_joint import train_unfrozen

        record = train_unfrozen(opened, restart, allow_missing)
        print_trained(record, opened.unfrozen, as_json, opened.command(f"eval --model {opened.unfrozen.name}"))
        return
    from slt_cache.errors import InputError
    from slt_cache.pipeline.train_llm import train_llm as train

    if allow_missing:
        raise InputError(
            "--allow-missing: stage 2 opens no videos, unless --set llm_training.unfreeze=temporal or =all. "
            f"The cache decides which clips it has: {opened.command('extract-features --allow-missing')}"
        )
    require_used(opened, "train-llm", saves=opened.config.llm.pretrained)
    cache = opened.find_features(features)
    if dry_run:
        print_dry_run(opened, "train-llm", as_json, cache)
        return
    record = train(opened, cache, restart)
    named = None if cache == opened.features else cache
    if not opened.config.llm.pretrained:
        print_trained(record, opened.scratch, as_json, opened.command("eval --model llm-from-scratch", features=named))
        return
    print_trained(record, opened.llm, as_json, opened.command("eval", features=named))


def _begun_from(origin: Path, run: Path | None, features: str) -> str:
    """Makes the new run folder out of another one. Returns the name of its feature cache."""
    from slt_cache.errors import InputError
    from slt_cache.runs.begin_from import FEATURES, begin_from

    if run is None:
        raise InputError(f"--from {origin}: name the folder of the new experiment with --run.")
    join()
    main_process_first(lambda: begin_from(origin, run, features))
    return str(run / FEATURES)


def train_joint(
    run: RunOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    device: DeviceOption = None,
    seed: SeedOption = None,
    restart: RestartOption = False,
    dry_run: DryRunOption = False,
    allow_missing: AllowMissingOption = False,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """For comparison: train the encoder and the LLM end to end from videos, without stage 1 (paper, table 4).

    Example: slt-cache train-joint --run runs/joint --set llm_training.epochs=10
    """
    keep_few_kernels()
    from slt_cache.pipeline.train_joint import train_joint as train

    opened = open_run(run, config, settings, device, seed, draws=True)
    require_used(opened, "train-joint", saves=not opened.config_file.is_file())
    if dry_run:
        print_dry_run(opened, "train-joint", as_json)
        return
    record = train(opened, restart, allow_missing)
    print_trained(record, opened.joint, as_json, opened.command(f"eval --model {opened.joint.name}"))


def print_trained(record: "Record", folder: "Path", as_json: bool, then: str) -> None:
    """What a training left in the folder, and the command that comes next."""
    if not is_main_process():
        return
    best = folder / "best"
    if as_json:
        result: dict[str, Any] = {"run": str(folder.parent), "best": str(best), "epochs": record.epochs}
        print_json({**result, "seconds": round(record.seconds, 1), "dev": record.dev or {}})
        return
    search = "greedy" if record.dev_beams == 1 else f"{record.dev_beams} beams"
    dev = f", dev BLEU-4 {record.dev['bleu4']:.2f} ({search})" if record.dev else ""
    typer.echo(
        f"{record.stage}: best of {record.epochs} epochs is {record.best_epoch}{dev} ({record.seconds:.0f} s) -> {best}"
    )
    typer.echo(f"next: {then}")
