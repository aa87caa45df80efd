"""How commands present themselves: options and commands in panels, an example that can be copied, and what a shell
completes. The help is plain text, which can be searched and piped; typer's own panels draw boxes, also around errors,
and need rich, which takes a while to import."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

ARGUMENTS = "Arguments"
OPTIONS = "Options"
RUN = "Run, settings and device"
OUTPUT = "Output and help"
COMMANDS = "Commands"


class PanelCommand(TyperCommand):
    """A command whose options stand in panels: its own, those that name a run, output."""

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        # \b keeps click from breaking the line, which is there to be copied.
        self.help = (self.help or "").replace("\n\nExample: ", "\n\n\b\nExample: ")

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Lets a repeatable --features take several values at once, as the shell gives them: --features a.h5 b.h5."""
        several = [one for one in self.params if one.name == "features" and getattr(one, "multiple", False)]
        return super().parse_args(ctx, _each_with_option(args, "--features") if several else args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        panels: dict[str, list[tuple[str, str]]] = {ARGUMENTS: [], OPTIONS: [], RUN: [], OUTPUT: []}
        for param in self.get_params(ctx):
            if row := param.get_help_record(ctx):
                default = ARGUMENTS if param.param_type_name == "argument" else OPTIONS
                panels[OUTPUT if param.name == "help" else _panel(param, default)].append(row)
        _write(formatter, panels)


def _each_with_option(args: Sequence[str], option: str) -> list[str]:
    """Returns the arguments with the option before each of its values: those up to the next option."""
    found: list[str] = []
    values = -1
    for arg in args:
        values = values + 1 if values >= 0 and not arg.startswith("-") else -1
        found += [option, arg] if values > 1 else [arg]
        if arg == option or arg.startswith(f"{option}="):
            values = int("=" in arg)
    return found


class PanelGroup(TyperGroup):
    """A program whose commands stand in panels, each with the whole of its first sentence."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        panels: dict[str, list[tuple[str, str]]] = {}
        for name, command in self.commands.items():
            if not command.hidden:
                row = name, command.get_short_help_str(limit=1000)
                panels.setdefault(_panel(command, COMMANDS), []).append(row)
        _write(formatter, panels)


def _panel(shown: Any, default: str) -> str:
    """Returns the panel that typer keeps with an option or command, with or without rich."""
    panel = shown.rich_help_panel
    return panel if isinstance(panel, str) else default


def _write(formatter: Any, panels: Mapping[str, Sequence[tuple[str, str]]]) -> None:
    for title, rows in panels.items():
        if rows:
            with formatter.section(title):
                formatter.write_dl(rows)


class Program(typer.Typer):
    """A typer application whose help has panels, and whose commands bear the names that `options.takes` gave them."""

    def __init__(self, *commands: Callable[..., None], **options: Any):
        super().__init__(cls=PanelGroup, no_args_is_help=True, rich_markup_mode=None, **options)
        for command in commands:
            self.command()(command)

    def command(self, name: str | None = None, *, cls: Any = PanelCommand, **options: Any) -> Any:
        return super().command(name, cls=cls, **options)


def one_of(*words: str) -> Callable[[str], list[str]]:
    """Returns a function that completes these words."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return complete


def config_names(incomplete: str) -> list[str]:
    """Completes the names of the shipped configs; if none fits, the shell completes files."""
    from importlib.resources import files

    names = sorted(PurePath(file.name).stem for file in files("slt_cache.configs").iterdir() if ".yaml" in file.name)
    return one_of(*names)(incomplete)


def section_names(incomplete: str) -> list[str]:
    """Completes the sections of a config."""
    from slt_cache.config import Config

    return one_of(*Config.model_fields)(incomplete)


def setting_names(incomplete: str) -> list[str]:
    """Completes `section.key=`, with nested sections."""
    from slt_cache.config.reference import describe

    return one_of(*(f"{setting.name}=" for setting in describe()))(incomplete)
