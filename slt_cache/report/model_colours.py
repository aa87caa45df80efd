"""One colour for each model of a run, the same in every table and every drawing of a page."""

from slt_cache.runs.variants import MODELS


def colour_of(model: str) -> int | None:
    """Place among the colours of the page; None for what is no model."""
    return list(MODELS).index(model) if model in MODELS else None


def css_colour_of(model: str) -> str:
    """The same for CSS."""
    place = colour_of(model)
    return "var(--quiet)" if place is None else f"var(--series-{place + 1})"
