"""YAML files and --set overrides in, a checked `Config` out, and back. Every error names the key and the file."""

import difflib
import hashlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from slt_cache.config.plain_yaml import dump_yaml, load_yaml, shortened, shortened_text
from slt_cache.config.reference import section_in
from slt_cache.config.run import Config
from slt_cache.errors import InputError
from slt_cache.files import write_text

HEADER = "# Settings of this run, written by slt-cache. Edit them if you like; the last line shows that none is lost."
"""First line of a saved config; without it a file counts as written by hand, and needs no end."""
END = "# end of config"
"""Begins the last line of a saved config; a checksum of the lines above follows."""
BOTH_STAGES, STAGES = "training", ("visual_training", "llm_training")
"""A section's name that stands for the sections of both stages."""
PROBLEMS = 10
"""At most that are named at once."""


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
    for override in for_each_stage(overrides):
        _apply(settings, override)
    return check_config(settings, " --set ".join([source, *overrides]))


def for_each_stage(overrides: Sequence[str]) -> list[str]:
    """Returns `section.key=value` words, with `training.key` written out for the sections of both stages."""
    prefix = f"{BOTH_STAGES}."
    return [
        stage + one.strip().removeprefix(BOTH_STAGES) if stage else one
        for one in overrides
        for stage in (STAGES if one.strip().startswith(prefix) else ("",))
    ]


def stated_in(source: str) -> dict[str, Any]:
    """Returns the settings that a shipped config or a YAML file states itself; the others keep their default."""
    return _read_settings(source)


def check_config(settings: Mapping[str, Any], source: str) -> Config:
    """Settings as they stand in a YAML file -> Config. `source` is named in errors."""
    try:
        return Config.model_validate(settings)
    except ValidationError as error:
        found = error.errors(include_url=False)
        problems = [_explain(problem) for problem in found[:PROBLEMS]]
        more = [f"and {len(found) - PROBLEMS:,} more"] if len(found) > PROBLEMS else []
        raise InputError(f"config {source}: {'; '.join([*problems, *more])}") from error


def save_config(config: Config, path: Path) -> None:
    """Writes every setting, also those that keep their default, between a first and a last line that show whether the
    file is whole."""
    text = f"{HEADER}\n{dump_yaml(config.model_dump(mode='json'))}"
    write_text(path, f"{text}{END} {_checksum(text)}\n")


def is_as_written(path: Path) -> bool:
    """Returns whether a saved config still has the bytes that `save_config` wrote; True for one written by hand, and
    for an edited one whose last line is `# end of config` alone."""
    text = _read_text(path, str(path))
    body, end, checksum = text.rstrip().rpartition(END)
    if not end:
        return not text.startswith(HEADER)
    return checksum.strip() in ("", _checksum(body))


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


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
        text = _read_text(Path(source), source)
        _require_end(text, source)
    else:
        near = difflib.get_close_matches(source, shipped_configs(), n=1)
        meant = f" Did you mean {near[0]}?" if near else ""
        raise InputError(
            f"config {source}: neither a file nor a shipped config.{meant} Shipped are: {', '.join(shipped_configs())}."
        )
    try:
        settings = load_yaml(text) or {}
    except InputError as error:
        raise InputError(f"config {source}: {error}.") from error
    if not isinstance(settings, dict):
        raise InputError(f"config {source}: expected sections such as 'video:' with keys under them.")
    settings = {key: {} if value is None and key in Config.model_fields else value for key, value in settings.items()}
    if isinstance(shared := settings.get(BOTH_STAGES), dict):
        del settings[BOTH_STAGES]
        settings |= {stage: {**shared, **settings.get(stage, {})} for stage in STAGES}
    return settings


def _read_text(path: Path, source: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"config {source}: not UTF-8 text (byte {error.start}). Save it as UTF-8.") from error
    except OSError as error:
        raise InputError(f"config {source}: cannot be read ({error.strerror}).") from error


def _require_end(text: str, source: str) -> None:
    """Refuses a saved config that lost its end. One that was cut within its first line has no settings left, and one
    without any text would be read as if it asked for all defaults."""
    if not text.strip("\0 \t\r\n"):
        raise InputError(
            f"config {source}: empty. Restore the file from a copy, or write the settings into it (a comment line "
            "stands for all defaults)."
        )
    cut = text.startswith(HEADER) and not text.rstrip().rpartition("\n")[2].startswith(END)
    if cut or HEADER.startswith(text.strip()):
        raise InputError(
            f"config {source}: cut off or damaged, for its last line ('{END} ...') is missing. Restore the file from a "
            f"copy; or, if you have edited it and all settings are there, add the line '{END}'."
        )


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
        place[key] = load_yaml(value)
    except InputError as error:
        raise InputError(f"--set {shortened_text(override)}: {error}. Quote the value if it is text.") from error


def _explain(problem: Any) -> str:
    """One pydantic error in plain words, an unknown key with the nearest known ones."""
    path = [str(part) for part in problem["loc"]]
    name = ".".join(shortened_text(part if part.isprintable() else repr(part), 60) for part in path)
    if problem["type"] == "extra_forbidden":
        known = _keys_beside(path)
        near = difflib.get_close_matches(path[-1][:100], known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}."
        return f"unknown key {name}; {hint}"
    message = problem["msg"].removeprefix("Value error, ")
    quote = "; put text in quotes" if problem["type"] == "string_type" else ""
    return f"{name or 'settings'}: {message[0].lower()}{message[1:]} (got {shortened(problem['input'])}{quote})"


def _keys_beside(path: Sequence[str]) -> list[str]:
    """The keys of the section that `path` points into."""
    section: type[BaseModel] = Config
    for part in path[:-1]:
        inner = section_in(section.model_fields[part].annotation) if part in section.model_fields else None
        if inner is None:
            return []
        section = inner
    return list(section.model_fields)
