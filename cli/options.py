"""Options that every command shares, and what they mean. Imports nothing heavy: --help must answer at once."""

import functools
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slt_cache.advice import command
from slt_cache.distributed.processes import leave, log_once

from .endings import FAILED, INTERRUPTED, CtrlC, Interrupted, explained, fall_silent, interruption, reader_is_gone
from .help import OUTPUT, RUN, config_names, one_of, setting_names

if TYPE_CHECKING:
    from slt_cache.runs.run import Run

RunOption = Annotated[
    Path | None,
    typer.Option("--run", help="Run folder. [default: runs/<config name>]", show_default=False, rich_help_panel=RUN),
]
ConfigOption = Annotated[
    str | None,
    typer.Option(
        "--config",
        help="A shipped config's name or a YAML file. [default: the run folder's config.yaml, else avatar]",
        show_default=False,
        rich_help_panel=RUN,
        autocompletion=config_names,
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="SECTION.KEY=VALUE",
        help="Change one setting, such as generation.num_beams=1; may be repeated.",
        show_default=False,
        rich_help_panel=RUN,
        autocompletion=setting_names,
    ),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device",
        help="auto, cpu, cuda, cuda:1 or mps. [default: compute.device of the config, auto if not set there]",
        show_default=False,
        rich_help_panel=RUN,
        autocompletion=one_of("auto", "cpu", "cuda", "mps"),
    ),
]
SeedOption = Annotated[
    int | None,
    typer.Option(
        "--seed",
        help="Of everything random in training. [default: seed of the config, 0 if not set there]",
        show_default=False,
        rich_help_panel=RUN,
    ),
]
JsonOption = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON object on stdout and nothing else there.", rich_help_panel=OUTPUT),
]
FeaturesOption = Annotated[
    str | None,
    typer.Option("--features", help="Feature cache. [default: feats.h5 of the run folder]", show_default=False),
]
AllowMissingOption = Annotated[
    bool,
    typer.Option("--allow-missing", help="Train without the clips whose videos cannot be read, and say how many."),
]
DryRunOption = Annotated[
    bool,
    typer.Option("--dry-run", help="Only say what it would take: clips, steps, hours, memory, disk. Writes nothing."),
]
RestartOption = Annotated[bool, typer.Option("--restart", help="Train anew, over what is there.")]


def remember_verbose(value: bool) -> bool:
    """-v is read by the error handler of `main`, which stands outside of every command."""
    Verbosity.traceback = Verbosity.traceback or value
    return value


VerboseOption = Annotated[
    bool,
    typer.Option(
        "-v",
        "--verbose",
        help="Show the traceback of an error.",
        callback=remember_verbose,
        rich_help_panel=OUTPUT,
    ),
]


class Verbosity:
    traceback = False


def guarded(work: Callable[..., None], left: Interrupted = Interrupted.STARTS_OVER) -> Callable[..., None]:
    """The command with its errors turned into exit codes: 1 failed on the way, 2 bad input, 130 interrupted; and with
    `~` expanded in what it is given. `left` says what an interruption leaves of it."""

    @functools.wraps(work)
    def guard(*arguments: Any, **options: Any) -> None:
        try:
            work(*arguments, **{name: _at_home(name, value) for name, value in options.items()})
            leave()
            _say_what_waits()
            sys.stdout.flush()
        except Exception as error:
            if isinstance(error, BrokenPipeError) and reader_is_gone():
                fall_silent()
                raise SystemExit(FAILED) from error
            explanation = explained(error, work.__name__)
            if CtrlC.pressed:
                explanation = interruption(left, options), INTERRUPTED
            if explanation is None or Verbosity.traceback:
                raise
            message, code = explanation
            log_once(message, _to_stderr)
            raise SystemExit(code) from error
        except KeyboardInterrupt:
            log_once(interruption(left, options), _to_stderr)
            raise SystemExit(INTERRUPTED) from None

    return guard


def _say_what_waits() -> None:
    """What a command was to say first, even if it said nothing else."""
    terminal = sys.modules.get("slt_cache.progress")
    if terminal is not None:
        terminal.log_waiting()


def _at_home(name: str, value: Any) -> Any:
    """A path whose `~` no shell has expanded, as in --run=~/runs/a."""
    if isinstance(value, list):
        return [_at_home(name, one) for one in value]
    named = isinstance(value, Path) or (isinstance(value, str) and name in ("features", "config", "name"))
    if not named or not str(value).startswith("~"):
        return value
    try:
        return type(value)(Path(value).expanduser())
    except RuntimeError:  # no such user
        return value


def _to_stderr(line: str) -> None:
    typer.echo(line, err=True)


def open_run(
    run: Path | None,
    config: str | None,
    settings: list[str] | None,
    device: str | None = None,
    seed: int | None = None,
    default: str = "avatar",
    *,
    own: Sequence[str] = (),
    begins: bool = False,
    draws: bool = False,
) -> "Run":
    """The run that the common options name. `own` are settings that options of the command itself stand for.

    A command that `begins` runs may be given a new folder alone; one that `draws` the demo corpus where no other is
    named says so."""
    from slt_cache.corpora.registry import corpus_of
    from slt_cache.progress import log_first
    from slt_cache.runs.run import open_run as open_

    overrides = list(settings or [])
    if seed is not None:
        overrides.append(f"seed={seed}")
    _require_agreement(settings or [], own, seed, device)
    opened = open_(run, config, overrides, default, device, own=own, begins=begins, draws=draws)
    if draws and run is None and config is None and corpus_of(opened.config).is_drawn:
        log_first(
            f"no --run and no --config: this is {opened.folder}, the drawn demo corpus. "
            f"For your own videos: {command('prepare tsv --root DIR')}"
        )
    return opened


def print_dry_run(opened: "Run", name: str, as_json: bool, cache: Path | None = None) -> None:
    """What the training command `name` would take."""
    from slt_cache.pipeline.dry_run import dry_run

    planned = dry_run(opened, name, cache)
    if os.environ.get("RANK", "0") != "0":
        return
    if as_json:
        print_json(planned.to_json())
    else:
        typer.echo(planned.text())


def _require_agreement(settings: Sequence[str], own: Sequence[str], seed: int | None, device: str | None) -> None:
    """Raises InputError if an option and a --set word say different things of one setting."""
    from slt_cache.errors import InputError

    also = {"seed": seed, "compute.device": device}
    options = dict(
        one.split("=", 1) for one in [*own, *(f"{name}={value}" for name, value in also.items() if value is not None)]
    )
    for setting in settings:
        name, _, value = (part.strip() for part in setting.partition("="))
        if name in options and value != options[name]:
            option = f"--{name.rpartition('.')[2]} {options[name]}"
            raise InputError(f"{option} and --set {setting} contradict each other. Leave one of them out.")


def require_used(opened: "Run", name: str, saves: bool = False) -> None:
    """Refuses `--set` words that contradict a finished stage which the command `name` does not make, and warns of
    those that it does not use at all; with `saves` they are kept for a later command."""
    from slt_cache.progress import log_first

    for setting in opened.require_used(name):
        if not saves:
            log_first(f"warning: --set {setting}: {name} does not use it, and it is not saved.")


def find_cache(path: Path | str | None, run: Path | None) -> Path:
    """The cache that an argument names. Raises InputError where it cannot be read."""
    from slt_cache.errors import InputError

    found = None if path is None else Path(path)
    if found is None or not found.exists():
        opened = open_run(run, None, None)
        found = opened.features if found is None else opened.find_features(str(found))
    try:
        if found.is_dir():
            raise InputError(f"{found}: a folder, not a feature cache. Name a file, or a run folder with --run.")
        if found.is_file():
            found.open("rb").close()
    except OSError as error:
        raise InputError(f"{found}: cannot be read ({error.strerror}).") from error
    return found


def sleep_while_waiting() -> None:
    """Has torch's threads sleep while they wait for each other, as suits the frozen encoder on a CPU: spinning ones
    take the cores from the processes that read videos. (Training, with its many small steps, is faster when they
    spin.) To be called before torch is imported."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def keep_few_kernels() -> None:
    """Has torch keep on a CPU the kernels that oneDNN prepared for a few shapes, in place of a thousand: batches of
    packed frames have another shape each, and memory would grow from epoch to epoch. Not for what reads features alone:
    its kernels are small, and to prepare them again takes 1 % of an update. To be called before torch is imported."""
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(name, "16")


def print_json(value: Any) -> None:
    """The one object that --json promises."""
    json.dump(value, sys.stdout, ensure_ascii=False)
    sys.stdout.write("\n")
