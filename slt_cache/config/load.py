"""YAML files and --set overrides in, a checked `Config` out, and back. Every error names the key and the file."""

import difflib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from slt_cache.config.sections import Config
from slt_cache.errors import InputError
from slt_cache.files import write_text


def shipped_configs() -> list[str]:
    """Names of the configs that come with the package."""
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in files("slt_cache.configs").iterdir()
        if entry.name.endswith(".yaml")
    )


def load_config(source: str, overrides: Sequence[str] = ()) -> Config:
    """A shipped config's name or the path of a YAML file, with `section.key=value` overrides on top."""
    settings = _read_settings(source)
    for override in overrides:
        _apply(settings, override)
    return check_config(settings, " --set ".join([source, *overrides]))


def check_config(settings: Mapping[str, Any], source: str) -> Config:
    """Settings as they stand in a YAML file -> Config. `source` is named in errors."""
    try:
        return Config.model_validate(settings)
    except ValidationError as error:
        problems = "; ".join(_explain(problem) for problem in error.errors())
        raise InputError(f"config {source}: {problems}") from error


def save_config(config: Config, path: Path) -> None:
    """Writes every setting, also those that keep their default."""
    write_text(path, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True))


def differences(made: Mapping[str, Any], asked: Mapping[str, Any], prefix: str = "") -> list[str]:
    """`key: made, asked` for every value that differs, nested keys joined by dots."""
    found: list[str] = []
    for key in sorted(made.keys() | asked.keys()):
        before, now = made.get(key), asked.get(key)
        name = f"{prefix}{key}"
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            found += differences(before, now, f"{name}.")
        elif before != now:
            found.append(f"{name}: made with {before}, asked for {now}")
    return found


def _read_settings(source: str) -> dict[str, Any]:
    if source in shipped_configs():
        text = (files("slt_cache.configs") / f"{source}.yaml").read_text(encoding="utf-8")
    elif Path(source).is_file():
        try:
            text = Path(source).read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"config {source}: not UTF-8 text (byte {error.start}). Save it as UTF-8.") from error
    else:
        raise InputError(
            f"config {source}: neither a file nor a shipped config. Shipped are: {', '.join(shipped_configs())}."
        )
    try:
        settings = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise InputError(f"config {source}: not valid YAML ({' '.join(str(error).split())}).") from error
    if not isinstance(settings, dict):
        raise InputError(f"config {source}: expected sections such as 'video:' with keys under them.")
    return {key: {} if value is None and key in Config.model_fields else value for key, value in settings.items()}


def _apply(settings: dict[str, Any], override: str) -> None:
    """Writes one `section.key=value` into the settings; the value is read as YAML."""
    path, equals, value = override.partition("=")
    *sections, key = path.strip().split(".")
    if not equals or not key:
        raise InputError(f"--set {override}: write it as section.key=value, such as video.size=112.")
    place = settings
    for section in sections:
        if place.get(section) is None:
            place[section] = {}  # null is a section that is off; a key of it turns it on
        inner = place[section]
        if not isinstance(inner, dict):
            raise InputError(f"--set {override}: '{section}' is a value and has no keys.")
        place = inner
    try:
        place[key] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise InputError(f"--set {override}: the value is not valid YAML. Quote it.") from error


def _explain(problem: Any) -> str:
    """One pydantic error in plain words, an unknown key with the nearest known ones."""
    path = [str(part) for part in problem["loc"]]
    name = ".".join(path)
    if problem["type"] == "extra_forbidden":
        known = _keys_beside(path)
        near = difflib.get_close_matches(path[-1], known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}."
        return f"unknown key {name}; {hint}"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{name or 'settings'}: {message[0].lower()}{message[1:]} (got {problem['input']!r})"


def _keys_beside(path: Sequence[str]) -> list[str]:
    """The keys of the section that `path` points into."""
    section: type[BaseModel] = Config
    for part in path[:-1]:
        annotation = section.model_fields[part].annotation if part in section.model_fields else None
        inner = [one for one in (annotation, *get_args(annotation)) if isinstance(one, type)]
        sections = [one for one in inner if issubclass(one, BaseModel)]
        if not sections:
            return []
        section = sections[0]
    return list(section.model_fields)
