"""Reference of all settings, with defaults, descriptions and choices, derived from the section classes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from slt_cache.config.run import Config


@dataclass(frozen=True)
class Setting:
    """One key of a config."""

    name: str
    """Full name, `section.key`."""
    default: Any
    description: str
    choices: tuple[Any, ...] = ()
    """All permitted values; empty if they are not enumerated."""


def describe() -> list[Setting]:
    """Returns all settings, in the order of the sections; an optional section is followed by its own keys."""
    return list(_settings(Config, "", Config().model_dump(mode="json")))


def section_names() -> list[str]:
    """Returns the names of the sections, and of the settings outside any section."""
    return list(Config.model_fields)


def _settings(section: type[BaseModel], prefix: str, defaults: dict[str, Any] | None) -> Iterator[Setting]:
    for key, field in section.model_fields.items():
        name = f"{prefix}{key}"
        default = None if defaults is None else defaults[key]
        inner = section_in(field.annotation)
        if inner is None or default is None:
            yield Setting(name, default, _description(section, key), tuple(_choices(field.annotation)))
        if inner is not None:
            without = inner().model_dump(mode="json") if default is None else default
            yield from _settings(inner, f"{name}.", without)


def section_in(annotation: Any) -> type[BaseModel] | None:
    """Returns the section that an annotation allows, alone or besides None."""
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _description(section: type[BaseModel], key: str) -> str:
    """Returns the description from the class itself, or from the base class that defines the key."""
    for one in section.__mro__:
        fields = getattr(one, "model_fields", {})
        if key in fields and fields[key].description:
            return " ".join(fields[key].description.split())
    return ""


def _choices(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) is Literal:
        yield from get_args(annotation)
    for inner in get_args(annotation):
        if get_origin(inner) is Literal:
            yield from get_args(inner)
