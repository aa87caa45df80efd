"""The lexicon: lexicon.yaml and lexicon.rich.yaml in, signs and their places out. Knows nothing of sentences or
pictures."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import lru_cache
from importlib.resources import files
from typing import Any

import yaml

from slt_cache.errors import InputError

LEXICON_FILE = "lexicon.yaml"
RICH_LEXICON_FILE = "lexicon.rich.yaml"
"""Further signs, of level 3."""
ALLOWED = {
    "group": (
        "time", "region", "weather", "adverb", "degree", "later", "link", "city", "strength", "tens", "unit",
    ),
    "level": (1, 2, 3),
    "movement": (
        "hold", "tap", "up", "down", "up_down", "left_right", "circle", "arc", "away", "apart", "zigzag",
    ),
    "second": ("none", "mirror", "alternate", "parallel", "base"),
    "shape": ("flat", "spread", "fist", "index", "v", "three", "thumb", "ring", "claw", "horns"),
    "palm": ("palm", "back", "side"),
    "mouth": ("closed", "open", "round", "wide", "smile"),
}  # fmt: skip


@dataclass(frozen=True)
class Sign:
    """One sign; the comment at the top of lexicon.yaml explains the fields."""

    name: str
    group: str
    level: int
    place: str
    movement: str
    second: str
    shape: str
    point: float
    """Degrees; direction of the fingers: 0 to the right of the picture, 90 up."""
    palm: str
    mouth: str


@dataclass(frozen=True)
class Lexicon:
    signs: dict[str, Sign]
    places: dict[str, tuple[float, float]]
    """x, y of the signing hand, in 1/128 of the picture's side."""

    def of_group(self, group: str, level: int) -> list[str]:
        """Returns the names of a group's signs up to a level, in the order of the file."""
        return [sign.name for sign in self.signs.values() if sign.group == group and sign.level <= level]


def read_data(name: str) -> Any:
    """Reads one of the YAML files of the demo corpus."""
    return yaml.safe_load(_text(name))


def data_sha256(names: Iterable[str]) -> str:
    """Returns a hash of the YAML files: another lexicon is another corpus. Line ends do not matter."""
    return hashlib.sha256("\n".join(_text(name) for name in names).encode()).hexdigest()


def _text(name: str) -> str:
    return files("slt_cache.data.avatar").joinpath(name).read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def lexicon() -> Lexicon:
    """Loads the lexicon that comes with the package. Raises InputError that names a bad sign."""
    data = read_data(LEXICON_FILE)
    places = {name: (float(x), float(y)) for name, (x, y) in data["places"].items()}
    entries = {**data["signs"], **read_data(RICH_LEXICON_FILE)["signs"]}
    signs = {name: _sign(name, entry, places) for name, entry in entries.items()}
    _refuse_similar(signs.values())
    return Lexicon(signs=signs, places=places)


def _sign(name: str, entry: dict[str, Any], places: dict[str, tuple[float, float]]) -> Sign:
    expected = {field.name for field in fields(Sign)} - {"name"}
    if entry.keys() != expected:
        wrong = ", ".join(sorted(entry.keys() ^ expected))
        raise InputError(f"{LEXICON_FILE}: sign {name} lacks or should not have: {wrong}.")
    for key, allowed in (*ALLOWED.items(), ("place", tuple(places))):
        if entry[key] not in allowed:
            choices = ", ".join(map(str, allowed))
            raise InputError(f"{LEXICON_FILE}: sign {name}: {key} {entry[key]!r} is not one of {choices}.")
    return Sign(name=name, **entry)


def _refuse_similar(signs: Iterable[Sign]) -> None:
    """Raises InputError for signs with the same place, movement and second hand, which could hardly be distinguished at
    32 x 32 pixels."""
    seen: dict[tuple[str, str, str], str] = {}
    for sign in signs:
        key = (sign.place, sign.movement, sign.second)
        if key in seen:
            raise InputError(
                f"{LEXICON_FILE}: {seen[key]} and {sign.name} share place, movement and second hand "
                f"({', '.join(key)}). Give one of them another."
            )
        seen[key] = sign.name
