"""`config show`."""

import json
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .help import Program, section_names
from .options import RUN_OPTIONS, Options, takes

if TYPE_CHECKING:
    from slt_cache.runs.show_config import ShownConfig, ShownSetting

WIDTH = 110
"""Characters per line of a description."""


@takes("show", *RUN_OPTIONS, "json")
def show(
    options: Options,
    section: Annotated[
        str | None,
        typer.Argument(
            help="A section such as video, or a setting such as video.size. [default: all]",
            autocompletion=section_names,
        ),
    ] = None,
) -> None:
    """Print every setting: its value, its default, its meaning, and where the value comes from.

    A star marks a value that differs from the default.

    Example: slt-cache config show video --run runs/avatar
    """
    from slt_cache.runs.show_config import show_config

    shown = show_config(options.open_run(), section)
    options.print(
        {"run": str(shown.run), "settings": {one.name: _to_json(one) for one in shown.settings}}, *_lines(shown)
    )


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


def _lines(shown: "ShownConfig") -> Iterator[str]:
    yield f"settings of {shown.run} (* differs from the default)"
    for one in shown.settings:
        default = f", default {_written(one.default)}" if one.differs else ""
        yield f"{'*' if one.differs else ' '} {one.name} = {_written(one.value)}   ({one.source}{default})"
        choices = f" One of {', '.join(map(_written, one.choices))}." if one.choices else ""
        yield textwrap.indent(textwrap.fill(one.description + choices, WIDTH), "      ")


def _written(value: Any) -> str:
    """Returns the value as YAML writes it."""
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


config = Program(show, name="config", help="Show settings.")
