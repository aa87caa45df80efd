"""`config show`."""

import json
import textwrap
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .help import Program, section_names
from .options import ConfigOption, JsonOption, RunOption, SetOption, VerboseOption, guarded, open_run, print_json

if TYPE_CHECKING:
    from slt_cache.runs.show_config import ShownConfig, ShownSetting

WIDTH = 110
"""Characters of a line of description."""


def register(app: typer.Typer) -> None:
    config = Program(help="Look at settings.")
    config.command("show")(guarded(show))
    config.callback()(_config)
    app.add_typer(config, name="config")


def _config() -> None:
    """Look at settings."""


def show(
    section: Annotated[
        str | None,
        typer.Argument(
            help="A section such as video, or a setting such as video.size. [default: all]",
            show_default=False,
            autocompletion=section_names,
        ),
    ] = None,
    run: RunOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Print every setting: its value, its default, what it means, and where the value comes from.

    A star marks what differs from the default.

    Example: slt-cache config show video --run runs/avatar
    """
    from slt_cache.runs.show_config import show_config

    shown = show_config(open_run(run, config, settings), section)
    if as_json:
        print_json({"run": str(shown.run), "settings": {one.name: _to_json(one) for one in shown.settings}})
        return
    _print(shown)


def _to_json(one: "ShownSetting") -> dict[str, Any]:
    choices = {"choices": list(one.choices)} if one.choices else {}
    return {
        "value": one.value,
        "default": one.default,
        "differs": one.differs,
        "source": one.source,
        "description": one.description,
        **choices,
    }


def _print(shown: "ShownConfig") -> None:
    typer.echo(f"settings of {shown.run} (* differs from the default)")
    for one in shown.settings:
        default = f", default {_written(one.default)}" if one.differs else ""
        typer.echo(f"{'*' if one.differs else ' '} {one.name} = {_written(one.value)}   ({one.source}{default})")
        choices = f" One of {', '.join(map(_written, one.choices))}." if one.choices else ""
        typer.echo(textwrap.indent(textwrap.fill(one.description + choices, WIDTH), "      "))


def _written(value: Any) -> str:
    """As a YAML file has it."""
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
