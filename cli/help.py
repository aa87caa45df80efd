"""How commands present themselves: options and commands in groups, an example that can be copied, and what a shell
completes. Plain text, so that it can be searched and piped; typer's own groups come with boxes, and draw them round
errors too."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup

RUN = "Run, settings and device"
OUTPUT = "Output and help"
OPTIONS = "Options"
COMMANDS = "Commands"
PANEL = "rich_help_panel"
"""Attribute in which typer keeps the group of an option or command, with or without rich."""


class GroupedCommand(TyperCommand):
    """A command whose options stand in groups: its own, those that every command shares, output."""

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        # \b keeps click from breaking the line, which is there to be copied.
        self.help = (self.help or "").replace("\n\nExample: ", "\n\n\b\nExample: ")

    def format_options(self, ctx: Any, formatter: Any) -> None:
        shown = [(param, record) for param in self.get_params(ctx) if (record := param.get_help_record(ctx))]
        _write(formatter, (("Arguments", row) for param, row in shown if param.param_type_name == "argument"))
        rows = [(_group(param), row) for param, row in shown if param.param_type_name == "option"]
        order = [OPTIONS, RUN, OUTPUT]
        _write(formatter, sorted(rows, key=lambda row: order.index(row[0])))


def _group(param: Any) -> str:
    return OUTPUT if param.name == "help" else getattr(param, PANEL, None) or OPTIONS


class GroupedCommands(TyperGroup):
    """A program whose commands stand in groups, each with the whole of its first sentence."""

    groups: ClassVar[Mapping[str, Sequence[str]]] = {}
    """Title -> names of its commands, in the order in which they are shown. The others follow."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        rows = {
            name: (name, command.get_short_help_str(limit=1000))
            for name in self.list_commands(ctx)
            if (command := self.get_command(ctx, name)) is not None and not command.hidden
        }
        grouped = [(title, rows.pop(name)) for title, names in self.groups.items() for name in names]
        _write(formatter, [*grouped, *((COMMANDS, row) for row in rows.values())])


def _write(formatter: Any, rows: Iterable[tuple[str, tuple[str, str]]]) -> None:
    """A section for each group; rows of one group follow one another."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for group, row in rows:
        groups.setdefault(group, []).append(row)
    for group, its in groups.items():
        with formatter.section(group):
            formatter.write_dl(its)


class Program(typer.Typer):
    """A typer application whose commands are grouped ones."""

    def __init__(self, cls: type[GroupedCommands] = GroupedCommands, **options: Any):
        super().__init__(cls=cls, no_args_is_help=True, rich_markup_mode=None, **options)

    def command(self, name: str | None = None, *, cls: Any = GroupedCommand, **options: Any) -> Any:
        return super().command(name, cls=cls, **options)


def one_of(*words: str) -> Callable[[str], list[str]]:
    """Completes these words."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return complete


def config_names(incomplete: str) -> list[str]:
    """Completes the shipped configs' names; where none fits, the shell completes files."""
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
