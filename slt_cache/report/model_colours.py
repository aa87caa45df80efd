"""Assigns each model of a run one colour, the same in every table and drawing of a page."""

from slt_cache.runs.variants import MODELS


def colour_of(model: str) -> int | None:
    """Returns the place among the page's colours; None if it is no model."""
    return list(MODELS).index(model) if model in MODELS else None


def css_colour_of(model: str) -> str:
    """Returns the CSS colour of a model."""
    place = colour_of(model)
    return "var(--quiet)" if place is None else f"var(--series-{place + 1})"
