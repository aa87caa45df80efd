"""Display of a run's settings with their defaults, descriptions and sources."""

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from slt_cache.advice import command
from slt_cache.config import shipped_configs, stated_in
from slt_cache.config.reference import Setting, describe, section_names
from slt_cache.errors import InputError
from slt_cache.runs.open_names import REGISTRIES
from slt_cache.runs.run import DEFAULT_CONFIG, Run
from slt_cache.runs.settings_use import named, value_of


@dataclass(frozen=True)
class ShownSetting:
    """Setting of a run as shown."""

    name: str
    value: Any
    default: Any
    source: str
    """Source of the value: `default`, `--set`, `config NAME`, or the path of a config file."""
    description: str
    choices: tuple[Any, ...]

    @property
    def differs(self) -> bool:
        return bool(self.value != self.default)


@dataclass(frozen=True)
class ShownConfig:
    """Run folder with its settings."""

    run: Path
    settings: list[ShownSetting]


def show_config(run: Run, part: str | None = None) -> ShownConfig:
    """Returns the settings that a command with these options would use, or a part of them: a section or one setting.
    Raises InputError for an unknown part."""
    settings = describe()
    if part is not None:
        chosen = [one for one in settings if one.name == part or one.name.startswith(f"{part}.")]
        if not chosen:
            raise InputError(_no_such(part, settings))
        settings = chosen
    values = run.config.model_dump(mode="json")
    source_of = _sources(run)
    shown = [
        ShownSetting(
            one.name, value_of(values, one.name), one.default, source_of(one.name), one.description, _choices(one)
        )
        for one in settings
    ]
    off = {one.name for one in shown if one.value is None}
    sections = {one.name.rpartition(".")[0] for one in shown} - off
    there = [one for one in shown if one.name not in sections and one.name.rpartition(".")[0] not in off]
    return ShownConfig(run.folder, there)


def _choices(setting: Setting) -> tuple[Any, ...]:
    return tuple(REGISTRIES.get(setting.name, setting.choices))


def _sources(run: Run) -> Callable[[str], str]:
    set_here = set(named(run.overrides))
    source = run.named_config or (str(run.config_file) if run.config_file.is_file() else DEFAULT_CONFIG)
    stated = stated_in(source)
    called = source if Path(source).is_file() else f"config {source}"

    def source_of(name: str) -> str:
        if any(name == one or name.startswith(f"{one}.") for one in set_here):
            return "--set"
        section, _, rest = name.partition(".")
        there = section in stated and (not rest or value_is_stated(stated[section], rest))
        return called if there else "default"

    return source_of


def value_is_stated(section: Any, key: str) -> bool:
    """Returns whether nested settings contain a key, whatever its value."""
    for part in key.split("."):
        if not isinstance(section, dict) or part not in section:
            return False
        section = section[part]
    return True


def _no_such(part: str, settings: list[Setting]) -> str:
    if part in shipped_configs():
        return f"config show {part}: a shipped config, not a setting. Show it: {command('config show', config=part)}"
    known = [*section_names(), *(one.name for one in settings)]
    near = get_close_matches(part, known, n=1)
    if not near:  # a key in the wrong section, or without a section
        by_key = {one.name.rpartition(".")[2]: one.name for one in reversed(settings)}
        near = [by_key[key] for key in get_close_matches(part.rpartition(".")[2], by_key, n=1)]
    meant = f" Did you mean {near[0]}?" if near else ""
    return f"config show {part}: no such section or setting.{meant} Sections: {', '.join(section_names())}."
