"""Search space of a sweep: a YAML file in, the values or range of each setting of stage 2 out, every value checked.
Knows nothing of Optuna."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from slt_cache.config import Config, with_settings
from slt_cache.config.plain_yaml import load_yaml, shortened
from slt_cache.config.reference import section_in
from slt_cache.errors import InputError
from slt_cache.reading import read_text
from slt_cache.runs.open_names import require_known_names
from slt_cache.runs.settings_use import is_used, value_of
from slt_cache.text.families import LIGHT_T

SEARCHED = ("llm", "llm_training", "generation")
"""Sections of stage 2 that may be searched."""
OF_LIGHT_T = ("light_t", "visual_training.objective", "visual_training.objective_weights")
"""Settings that may be searched, too, for a Light-T."""
FIXED = {
    "llm_training.select_by": "it is what trials are compared by",
    "llm_training.seed": "the best seed is luck; --seeds repeats the best trials",
    "llm_training.fraction": "more clips are always better; reproduce datasize compares shares",
    "llm_training.unfreeze": "such a training reads videos",
    "llm.language": "it is the language of the clips",
    "llm.pretrained": "an LLM from scratch is another model; sweep it with --set llm.pretrained=false",
    "generation.dev_beams": "it would prune trials by another search",
}
"""Settings of these sections that all trials share, and why."""
RANGE = ("low", "high", "log", "step")
"""Keys of a range."""


@dataclass(frozen=True)
class Range:
    """Numbers from low to high."""

    low: float
    high: float
    log: bool = False
    """Whether orders of magnitude are searched evenly."""
    step: float | None = None
    whole: bool = False
    """Whether they are whole numbers."""

    def has(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        steps = 0.0 if self.step is None else (value - self.low) / self.step
        return abs(steps - round(steps)) < 1e-9


@dataclass(frozen=True)
class Choices:
    """Values to choose from, each as JSON, by which Optuna knows it."""

    values: tuple[str, ...]

    def has(self, value: Any) -> bool:
        return self.named(value) in self.values

    def named(self, value: Any) -> str:
        """Returns the JSON of a value."""
        return json.dumps(value)


Space = Mapping[str, Range | Choices]
"""Where each setting, `section.key`, is searched."""


def shipped_spaces() -> list[str]:
    """Returns the names of the search spaces that come with the package."""
    found = (files("slt_cache.configs") / "sweeps").iterdir()
    return sorted(entry.name.removesuffix(".yaml") for entry in found if entry.name.endswith(".yaml"))


def read_space(source: str, config: Config) -> Space:
    """Reads a shipped search space by name or a YAML file by path. Raises InputError, naming the setting, for one that
    is unknown, not of stage 2, or has no values or values of the wrong type."""
    try:
        settings = load_yaml(_text(source))
    except InputError as error:
        raise InputError(f"sweep {source}: {error}.") from error
    if not settings or not isinstance(settings, dict):
        raise InputError(
            f"sweep {source}: no settings. Write some, such as llm_training.lr: {{low: 1.0e-5, high: 0.001, log: true}}"
        )
    return {name: _searched(f"sweep {source}: {name}", name, spec, config) for name, spec in _named(settings, "")}


def first_values(space: Space, config: Config) -> dict[str, Any] | None:
    """Returns the run's own values, as Optuna knows them; None if the space lacks one of them."""
    settings = config.model_dump(mode="json")
    own = {name: value_of(settings, name) for name in space}
    if not all(space[name].has(value) for name, value in own.items()):
        return None
    return {name: json.dumps(value) if isinstance(space[name], Choices) else value for name, value in own.items()}


def outside(space: Space, config: Config) -> list[str]:
    """Returns the settings whose own value the space lacks, each with it."""
    settings = config.model_dump(mode="json")
    own = {name: value_of(settings, name) for name in space}
    return [f"{name}={json.dumps(value)}" for name, value in own.items() if not space[name].has(value)]


def settings_of(space: Space, params: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings of a trial from the values by which Optuna knows them."""
    return {name: json.loads(one) if isinstance(space[name], Choices) else one for name, one in params.items()}


def _text(source: str) -> str:
    if source in shipped_spaces():
        return (files("slt_cache.configs") / "sweeps" / f"{source}.yaml").read_text(encoding="utf-8")
    if not Path(source).is_file():
        raise InputError(f"neither a file nor a shipped search space. Shipped: {', '.join(shipped_spaces())}")
    return read_text(Path(source))


def _named(settings: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Yields `section.key` and what the file has for it; sections may be nested or written with dots."""
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value and not set(value) & set(RANGE) and _is_section(name):
            yield from _named(value, f"{name}.")
        else:
            yield name, value


def _is_section(name: str) -> bool:
    section: Any = Config
    for part in name.split("."):
        field = section.model_fields.get(part)
        section = None if field is None else section_in(field.annotation)
        if section is None:
            return False
    return True


def _searched(place: str, name: str, spec: Any, config: Config) -> Range | Choices:
    if isinstance(spec, list) and spec:
        for value in spec:
            _checked(place, name, value, config)
        found: Range | Choices = Choices(tuple(dict.fromkeys(json.dumps(value) for value in spec)))
    elif isinstance(spec, dict) and {"low", "high"} <= set(spec) <= set(RANGE):
        found = _range(place, name, spec, config)
    else:
        _checked(place, name, spec if isinstance(spec, str | int | float) else None, config, known=True)
        raise InputError(
            f"{place}: {shortened(spec)} is nothing to choose from. Write values, such as [8, 16], or a range, "
            f"{{low: 1.0e-5, high: 1.0e-3}} with log: true or step: 0.1."
        )
    _require_of_stage_2(place, name, config)
    return found


def _range(place: str, name: str, spec: Mapping[str, Any], config: Config) -> Range:
    low, high = (_checked(place, name, spec[end], config) for end in ("low", "high"))
    log, step = spec.get("log", False), spec.get("step")
    for key, value in (("low", low), ("high", high), ("step", 1 if step is None else step)):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"{place}: {key} {shortened(value)} is no number. Write values as a list, such as [a, b].")
    if not isinstance(log, bool) or (step is not None and (log or step <= 0)):
        raise InputError(f"{place}: log is true or false, and a step is above 0 and only without log.")
    if low >= high or (log and low <= 0):
        raise InputError(f"{place}: from {low} to {high} is no range{' of orders of magnitude' if log else ''}.")
    whole = isinstance(low, int) and isinstance(high, int)
    if whole and step is not None and step != int(step):
        raise InputError(f"{place}: a step of {step} leaves the whole numbers.")
    return Range(low, high, log, step, whole)


def _checked(place: str, name: str, value: Any, config: Config, known: bool = False) -> Any:
    """Returns a value as the setting holds it. Raises InputError for an unknown setting and, unless it only has to be
    `known`, for a value of the wrong type."""
    try:
        changed = with_settings(config, {name: value})
        require_known_names(changed)
    except InputError as error:
        if known and "unknown key" not in str(error):
            return value
        raise InputError(f"{place}: {str(error).partition(': ')[2].removeprefix(f'{name}: ')}") from error
    return value_of(changed.model_dump(mode="json"), name)


def _require_of_stage_2(place: str, name: str, config: Config) -> None:
    searched = (*SEARCHED, *(OF_LIGHT_T if config.llm.name == LIGHT_T else ()))
    why = next((why for fixed, why in FIXED.items() if name == fixed or name.startswith(f"{fixed}.")), None)
    if why is not None:
        raise InputError(f"{place}: all trials share this setting, since {why}.")
    if not any(name == one or name.startswith(f"{one}.") for one in searched):
        used = "" if is_used(name, "train-llm") else ", which train-llm does not use"
        raise InputError(f"{place}: not a setting of stage 2{used}. Search {', '.join(searched)}.")
