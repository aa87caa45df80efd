"""Colours of report pages, light and dark, and of pictures, which are light."""

LIGHT = {
    "ground": "#f6f7f6",
    "card": "#ffffff",
    "text": "#1f2629",
    "quiet": "#5a656b",
    "rule": "#dde2e1",
    "accent": "#0b6e66",
    "extra": "#fbe7cb",
    "extra-line": "#b8690b",
    "missing": "#96505f",
    "series-1": "#2f6f9f",
    "series-2": "#bf6516",
    "series-3": "#3a8560",
    "series-4": "#8a4f8f",
    "series-5": "#6b6f1d",
    "series-6": "#a8433f",
    "series-7": "#7a5a3a",
    "series-8": "#3f6f78",
}
"""Colours by their names in CSS. Series can be told apart with red-green colour blindness, and by dashes."""
DARK = {
    "ground": "#131719",
    "card": "#1b2023",
    "text": "#dde3e4",
    "quiet": "#98a4a9",
    "rule": "#31393d",
    "accent": "#66c7b9",
    "extra": "#46351a",
    "extra-line": "#e2a551",
    "missing": "#d3a0aa",
    "series-1": "#7cb3dc",
    "series-2": "#e5a262",
    "series-3": "#79c79d",
    "series-4": "#c9a0d1",
    "series-5": "#c3c66e",
    "series-6": "#e5928d",
    "series-7": "#cfae8a",
    "series-8": "#8fc4cc",
}
INK = (14, 124, 114)
"""Colour of a map's largest value, RGB, visible on light and dark ground, where the page lightens it."""


def variables(colours: dict[str, str]) -> str:
    """Returns CSS declarations of the colours."""
    ink = "rgb({} {} {})".format(*INK)
    return " ".join(f"--{name}: {colour};" for name, colour in {**colours, "ink": ink}.items())
