"""The options that commands share, and the decorator that gives a command its own selection of them.

Imports nothing heavy: --help must answer at once."""

import functools
import inspect
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec, get_type_hints

import typer

from slt_cache.advice import command as advised
from slt_cache.features.place import is_cache, located
from slt_cache.threads import SPINS, set_up_threads

from .endings import Verbosity, with_errors_as_exit_codes
from .help import OUTPUT, RUN, config_names, one_of, setting_names
from .interruptions import Interrupted

if TYPE_CHECKING:
    from slt_cache.pipeline.model_folder import WholeModel
    from slt_cache.runs.run import Run
    from slt_cache.runs.streams import Caches

Own = ParamSpec("Own")
_of_run = functools.partial(typer.Option, rich_help_panel=RUN)


def _remember_verbose(value: bool) -> bool:
    Verbosity.traceback = Verbosity.traceback or value
    return value


@dataclass(frozen=True)
class Options:
    """Values of the options that commands share. A command takes those that `takes` names; the rest keep their
    defaults."""

    features: Annotated[
        str | None, typer.Option("--features", help="Feature cache. [default: feats.h5 of the run folder]")
    ] = None
    restart: Annotated[bool, typer.Option("--restart", help="Discard the existing training and start over.")] = False
    longer: Annotated[
        bool,
        typer.Option(
            "--continue",
            help="Train a finished stage for more epochs, from its last state: with --set and a larger number of "
            "epochs, such as llm_training.epochs=100.",
        ),
    ] = False
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Print what it would take (clips, steps, hours, memory, disk space), and write nothing."
        ),
    ] = False
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Train without the clips whose videos cannot be read.")
    ] = False
    run: Annotated[Path | None, _of_run("--run", help="Run folder. [default: runs/<config name>]")] = None
    config: Annotated[
        str | None,
        _of_run(
            "--config",
            help="Name of a shipped config, or a YAML file. [default: config.yaml of the run folder, or else avatar]",
            autocompletion=config_names,
        ),
    ] = None
    settings: Annotated[
        list[str] | None,
        _of_run(
            "--set",
            metavar="SECTION.KEY=VALUE",
            help="Change one setting, such as generation.num_beams=1. Repeatable.",
            autocompletion=setting_names,
        ),
    ] = None
    device: Annotated[
        str | None,
        _of_run(
            "--device",
            help="auto, cpu, cuda, cuda:1 or mps. [default: compute.device of the config, which is auto unless set]",
            autocompletion=one_of("auto", "cpu", "cuda", "mps"),
        ),
    ] = None
    seed: Annotated[
        int | None,
        _of_run("--seed", help="Random seed for training. [default: seed of the config, which is 0 unless set]"),
    ] = None
    json: Annotated[
        bool, typer.Option("--json", help="Print exactly one JSON object on stdout.", rich_help_panel=OUTPUT)
    ] = False
    verbose: Annotated[
        bool,
        typer.Option(
            "-v",
            "--verbose",
            help="Show the traceback of an error.",
            callback=_remember_verbose,
            rich_help_panel=OUTPUT,
        ),
    ] = False
    command: str = ""
    """Name of the command that takes these options."""

    def open_run(
        self, *, default: str = "avatar", own: Sequence[str] = (), begins: bool = False, draws: bool = False
    ) -> "Run":
        """Opens the run that the options name. `own` are settings that the command's own options stand for.

        A command that `begins` runs accepts a new folder without a config; one that `draws` the demo corpus if no run
        and no config are named says so."""
        from slt_cache.corpora.registry import corpus_of
        from slt_cache.errors import InputError
        from slt_cache.progress import log_first
        from slt_cache.runs.run import open_run

        settings = [*(self.settings or []), *([] if self.seed is None else [f"seed={self.seed}"])]
        self._require_agreement(own)
        if self.longer and self.restart:
            raise InputError("--continue and --restart contradict each other. Give only one of them.")
        named = (self.run, self.config, settings, default, self.device)
        opened = open_run(*named, own=own, for_command=self.command, begins=begins, draws=draws)
        if draws and self.run is None and self.config is None and corpus_of(opened.config).is_drawn:
            log_first(
                f"no --run and no --config: using {opened.folder}, the drawn demo corpus. "
                f"For your own videos: {advised('prepare tsv --root DIR')}"
            )
        return replace(opened, longer=self.longer)

    def _require_agreement(self, own: Sequence[str]) -> None:
        """Raises InputError if an option and a --set word give one setting different values."""
        from slt_cache.errors import InputError

        also = {"seed": self.seed, "compute.device": self.device}
        named = dict(one.split("=", 1) for one in own)
        named |= {name: str(value) for name, value in also.items() if value is not None}
        for setting in self.settings or []:
            name, _, value = (part.strip() for part in setting.partition("="))
            if name in named and value != named[name]:
                option = f"--{name.removesuffix('.name').rpartition('.')[2]} {named[name]}"
                raise InputError(f"{option} and --set {setting} contradict each other. Give only one of them.")

    def find_cache(self, path: Path | str | None) -> Path:
        """Returns the cache that an argument names, or that of the run. Raises InputError if it cannot be read."""
        from slt_cache.errors import InputError

        found = None if path is None else located(path)
        if found is None or not found.exists():
            opened = Options(run=self.run).open_run()
            found = opened.features if found is None else opened.find_features(str(found))
        try:
            if found.is_dir() and not is_cache(found):
                raise InputError(f"{found}: a folder, not a feature cache. Name a file, or a run folder with --run.")
            if found.is_file():
                found.open("rb").close()
        except OSError as error:
            raise InputError(f"{found}: cannot be read ({error.strerror}).") from error
        return found

    def print(self, value: Any, *lines: str) -> None:
        """Prints the one JSON object that --json promises, or else the lines."""
        if self.json:
            json.dump(value, sys.stdout, ensure_ascii=False)
            sys.stdout.write("\n")
        else:
            for line in lines:
                typer.echo(line)

    def print_dry_run(self, opened: "Run", name: str, cache: "Caches | None" = None) -> None:
        """Prints what the training command `name` would take."""
        from slt_cache.estimates.dry_run import dry_run

        planned = dry_run(opened, name, cache)
        if os.environ.get("RANK", "0") == "0":
            self.print(planned.to_json(), planned.text())


ModelOption = Annotated[
    str | None,
    _of_run("--model", metavar="DIR", help="Folder of export-model. [default: a run]"),
]
BaseOption = Annotated[
    str | None,
    _of_run(
        "--base",
        metavar="DIR",
        help="LLM of a model folder that was exported --without-base: a folder or hub name. [default: the hub name in "
        "the model folder]",
    ),
]
LanguageOption = Annotated[
    str | None,
    typer.Option(
        "--language",
        metavar="CODE",
        help="Language of the sentences, such as de, for a model that was trained on several. [default: its only one]",
    ),
]


def run_or_model(options: Options, model: str | None, base: str | None, name: str) -> "Run | WholeModel":
    """Opens the run, or loads the model folder, that the options of the command `name` name."""
    from slt_cache.errors import InputError

    if model is not None:
        from slt_cache.pipeline.model_folder import read_model_folder

        if options.run is not None or options.config is not None:
            raise InputError(f"--model {model}: a model folder needs no run. Omit --run and --config.")
        return read_model_folder(model, options.settings or (), options.device, base)
    if base is not None:
        raise InputError(f"--base {base}: a run has its LLM. Give the option together with --model.")
    opened = options.open_run()
    require_used(opened, name)
    return opened


RUN_OPTIONS = ("run", "config", "settings")
"""Options that name a run and its settings."""
TRAINING_OPTIONS = (*RUN_OPTIONS, "device", "seed", "restart", "longer", "dry_run", "json")
"""Options of every training."""
_SHARED = get_type_hints(Options, include_extras=True)


def takes(
    name: str, *shared: str, left: Interrupted = Interrupted.STARTS_OVER, spins: int = SPINS
) -> Callable[[Callable[Concatenate[Options, Own], None]], Callable[..., None]]:
    """Makes a function the command `name`, with the `shared` options and -v after its own. `left` says what an
    interruption leaves of it, `spins` how long torch's threads spin while they wait for each other.

    `~` is expanded in paths, and errors become exit codes: 1 failed on the way, 2 bad input, 130 interrupted."""
    kinds = {option: _SHARED[option] for option in _SHARED if option in (*shared, "verbose")}
    assert set(shared) <= set(kinds), shared

    def decorate(work: Callable[Concatenate[Options, Own], None]) -> Callable[..., None]:
        @functools.wraps(work)
        def command(**values: Any) -> None:
            with_errors_as_exit_codes(lambda: _call(work, name, kinds, values, spins), name, left, values)

        _, *own = inspect.signature(work).parameters.values()
        own = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own]
        own += [
            inspect.Parameter(option, inspect.Parameter.KEYWORD_ONLY, default=getattr(Options, option), annotation=kind)
            for option, kind in kinds.items()
        ]
        command.__signature__ = inspect.Signature(own)  # type: ignore[attr-defined]
        command.__annotations__ = {one.name: one.annotation for one in own}
        command.__name__ = name
        return command

    return decorate


def _call(work: Callable[..., None], command: str, shared: Any, values: dict[str, Any], spins: int) -> None:
    from slt_cache.progress import log_to_stderr

    set_up_threads(spins)
    values = {name: _at_home(name, value) for name, value in values.items()}
    log_to_stderr()
    options = Options(**{name: values.pop(name) for name in shared}, command=command)
    work(options, **values)


PATHS = ("features", "config", "name", "model", "base")
"""Options that may be paths, though their type is text."""


def _at_home(name: str, value: Any) -> Any:
    """Expands a `~` that no shell has expanded, as in --run=~/runs/a."""
    if isinstance(value, list):
        return [_at_home(name, one) for one in value]
    is_path = isinstance(value, Path) or (isinstance(value, str) and name in PATHS)
    if not is_path or not str(value).startswith("~"):
        return value
    try:
        return type(value)(Path(value).expanduser())
    except RuntimeError:  # no such user
        return value


def require_used(opened: "Run", name: str, saves: bool = False) -> None:
    """Refuses `--set` words that contradict a finished stage which the command `name` does not make, and warns of
    those that it does not use at all; with `saves` they are kept for a later command."""
    from slt_cache.progress import log_first

    for setting in opened.require_used(name):
        if not saves:
            log_first(f"warning: --set {setting}: {name} does not use it, and it is not saved.")


def keep_few_kernels() -> None:
    """Makes oneDNN keep the kernels of 16 shapes on a CPU instead of a thousand. Call before torch is imported.

    Every batch of packed frames has another shape, and memory would grow from epoch to epoch. Not for training on
    features alone: its kernels are small, and preparing them again costs 1 % of a step."""
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(name, "16")
