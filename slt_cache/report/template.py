"""Renders templates of this package to HTML pages that load nothing: no font, no script, no picture.

Texts are escaped; only Markup, such as a drawing of `lines.draw_lines`, is inserted verbatim."""

import base64
import functools
import hashlib
from datetime import datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from slt_cache import __version__
from slt_cache.colours import DARK, LIGHT, variables
from slt_cache.report.shades import shade_of
from slt_cache.runs.variants import MODELS


def render(template: str, values: dict[str, Any], script: str | None = None) -> str:
    """Renders `template`, a file of this package that extends base.html.jinja, with the file `script` inline. The page
    allows only that script, by its hash, so that even text which was not escaped would not run."""
    environment = _environment()
    code = None if script is None else Markup(environment.get_template(script).render())
    return environment.get_template(template).render(
        **values,
        script=code,
        light=variables(LIGHT),
        dark=variables(DARK),
        script_sources="'none'" if code is None else f"'sha256-{_digest(code)}'",
        tool=f"slt-cache {__version__}",
        date=f"{datetime.now().astimezone():%Y-%m-%d %H:%M}",
    )


def render_part(template: str, macro: str, **values: Any) -> Markup:
    """Renders a single macro of a template."""
    return Markup(getattr(_environment().get_template(template).module, macro)(**values))


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("slt_cache", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["css_colour_of"] = css_colour_of
    environment.globals["shade_of"] = shade_of
    return environment


def _digest(code: str) -> str:
    return base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()


def colour_of(model: str) -> int | None:
    """Returns the place among the page's colours; None if it is no model."""
    return list(MODELS).index(model) if model in MODELS else None


def css_colour_of(model: str) -> str:
    """Returns the CSS colour of a model."""
    place = colour_of(model)
    return "var(--quiet)" if place is None else f"var(--series-{place + 1})"
