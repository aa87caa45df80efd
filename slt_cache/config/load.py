"""Loading, checking and saving of configs: YAML files and --set overrides to a `Config` and back. Every error names the
key and the file."""

import difflib
import hashlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from slt_cache.config.llm import LIGHT_T, VIDEO
from slt_cache.config.llm_training import ControlConfig
from slt_cache.config.plain_yaml import dump_yaml, load_yaml, shortened, shortened_text
from slt_cache.config.protocols import release
from slt_cache.config.reference import section_in
from slt_cache.config.run import Config
from slt_cache.config.visual import OF_TORCHVISION, is_network
from slt_cache.errors import InputError
from slt_cache.files import write_text

HEADER = "# Settings of this run, written by slt-cache. Edit them if you like; the last line shows that none is lost."
"""First line of a saved config; a file without it counts as written by hand, and needs no last line."""
END = "# end of config"
"""Start of the last line of a saved config; a checksum of the lines above follows."""
BOTH_STAGES, STAGES = "training", ("visual_training", "llm_training")
"""Section name that stands for the sections of both stages."""
WEIGHTS, NAMED_WEIGHTS = "encoder.weights", "encoder.named_weights"
PROBLEMS = 10
"""Largest number of problems that one message names."""


def shipped_configs() -> list[str]:
    """Returns the names of the configs that come with the package."""
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in files("slt_cache.configs").iterdir()
        if entry.name.endswith(".yaml")
    )


def load_config(source: str, overrides: Sequence[str] = (), of_named: bool | None = None) -> Config:
    """Loads a shipped config by name or a YAML file by path, with `section.key=value` overrides applied; `of_named` is
    that of `for_network`."""
    settings, overrides = _read_settings(source), for_each_stage(overrides)
    release(settings, overrides)
    before, encoder = _llm_name(settings), dict(_encoder(settings))
    for override in overrides:
        _apply(settings, override)
    if _llm_name(settings) == LIGHT_T:
        _set_lrs_of_light_t(settings, before, overrides)
    meant = for_network(overrides, _encoder(settings).get("name"), of_named)
    if meant != overrides:
        return load_config(source, meant)
    if is_network(_encoder(settings).get("name")):
        _set_weights_of_network(settings["encoder"], encoder, overrides)
    return check_config(settings, " --set ".join([source, *overrides]))


def _llm_name(settings: Mapping[str, Any]) -> Any:
    llm = settings.get("llm")
    return llm.get("name") if isinstance(llm, dict) else None


def _set_lrs_of_light_t(settings: dict[str, Any], before: Any, overrides: Sequence[str]) -> None:
    """Sets the learning rates of stage 2 to the Light-T baseline's, but for those that are stated for a Light-T: in a
    file that names it, or with it on the command line. Rates for a pre-trained LLM would teach it nothing."""
    training, control = settings.setdefault("llm_training", {}), settings.get("control") or {}
    if not isinstance(training, dict) or not isinstance(control, dict):
        return  # refused later
    stated = {one.removeprefix("llm_training.") for one in _stated(overrides)}
    stated |= training.keys() if before == LIGHT_T else set()
    lr = control.get("lr", ControlConfig().lr)
    training.update({name: lr for name in ("lr", "adapter_lr") if name not in stated})


def _encoder(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    encoder = settings.get("encoder")
    return encoder if isinstance(encoder, dict) else {}


def for_network(overrides: Sequence[str], name: Any, of_named: bool | None = None) -> list[str]:
    """Returns `section.key=value` overrides, with `encoder.weights` written as `encoder.named_weights` if it means the
    weights of the encoder `name`, a network that is used as it comes, and not those with which stage 1 starts.

    `of_named` says whether it does; None: if the overrides name the network, too."""
    stated = _stated(overrides)
    if (
        not is_network(name)
        or NAMED_WEIGHTS in stated
        or not ("encoder.name" in stated if of_named is None else of_named)
    ):
        return list(overrides)
    return [NAMED_WEIGHTS + one[one.index("=") :] if _stated([one]) == {WEIGHTS} else one for one in overrides]


def _stated(overrides: Sequence[str]) -> set[str]:
    return {one.partition("=")[0].strip() for one in overrides}


def _set_weights_of_network(encoder: dict[str, Any], before: Mapping[str, Any], overrides: Sequence[str]) -> None:
    """Sets the weights of a network that is used as it comes, unless the command line does: to those that the file, its
    section `before`, says of the same network, or else to imagenet."""
    if _stated(overrides) & {NAMED_WEIGHTS, "encoder"}:
        return
    is_same = is_network(before.get("name")) and _short(encoder["name"]) == _short(before["name"])
    own = before.get("named_weights") or before.get("weights") if is_same else None
    encoder["named_weights"] = own or "imagenet"


def _short(network: str) -> str:
    return network.removeprefix(OF_TORCHVISION)


def for_each_stage(overrides: Sequence[str]) -> list[str]:
    """Returns `section.key=value` overrides, with `training.key` written out for the sections of both stages."""
    prefix = f"{BOTH_STAGES}."
    return [
        stage + one.strip().removeprefix(BOTH_STAGES) if stage else one
        for one in overrides
        for stage in (STAGES if one.strip().startswith(prefix) else ("",))
    ]


def stated_in(source: str) -> dict[str, Any]:
    """Returns the settings that a shipped config or YAML file states explicitly; the others keep their defaults."""
    return _read_settings(source)


def check_config(settings: Mapping[str, Any], source: str) -> Config:
    """Validates settings as read from YAML. `source` is named in errors."""
    try:
        return Config.model_validate(settings)
    except ValidationError as error:
        found = error.errors(include_url=False)
        problems = [_explain(problem) for problem in found[:PROBLEMS]]
        more = [f"and {len(found) - PROBLEMS:,} more"] if len(found) > PROBLEMS else []
        raise InputError(f"config {source}: {'; '.join([*problems, *more])}") from error


def with_settings(config: Config, changes: Mapping[str, Any]) -> Config:
    """Returns the settings with some changes, by `section.key`. Raises InputError if they contradict each other."""
    settings = config.model_dump(mode="json")
    said = ", ".join(f"{name}={value}" for name, value in changes.items())
    for name, value in changes.items():
        *sections, key = name.split(".")
        _section(settings, sections, said)[key] = value
    return check_config(settings, said)


def save_config(config: Config, path: Path) -> None:
    """Writes every setting, including defaults, between a first and a last line that show whether the file is
    complete."""
    text = f"{HEADER}\n{dump_yaml(config.model_dump(mode='json'))}"
    write_text(path, f"{text}{END} {_checksum(text)}\n")


def is_as_written(path: Path) -> bool:
    """Returns whether a saved config still has the bytes that `save_config` wrote; True for a file written by hand, and
    for an edited one whose last line is `# end of config` alone."""
    text = _read_text(path, str(path))
    body, end, checksum = text.rstrip().rpartition(END)
    if not end:
        return not text.startswith(HEADER)
    return checksum.strip() in ("", _checksum(body))


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def differences(made: Mapping[str, Any], asked: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Returns a line for every value that differs, nested keys joined by dots. A setting that a record omits has its
    default."""
    found: list[str] = []
    for key in sorted(made.keys() | asked.keys()):
        name = f"{prefix}{key}"
        before, now = (one[key] if key in one else _default(name) for one in (made, asked))
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            found += differences(before, now, f"{name}.")
        elif before != now:
            found.append(f"{name}: made with {before}, asked for {now}")
    return found


def _default(name: str) -> Any:
    """Returns the default of `section.key`; None if there is no such setting. `loop` is the Light-T baseline's."""
    section, _, key = name.partition(".")
    field = Config.model_fields.get("llm_training" if section == "loop" else section)
    default = getattr(None if field is None else field.default, key, None) if key else None
    return default.model_dump(mode="json") if isinstance(default, BaseModel) else default


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
            f"config {source}: neither a file nor a shipped config.{meant} Shipped: {', '.join(shipped_configs())}."
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
    """Raises InputError for a saved config without its last line. A file cut off within its first line has no settings
    left, and an empty one would be read as all defaults."""
    if not text.strip("\0 \t\r\n"):
        raise InputError(
            f"config {source}: empty. Restore the file from a copy, or write the settings into it (a comment line "
            "stands for all defaults)."
        )
    truncated = text.startswith(HEADER) and not text.rstrip().rpartition("\n")[2].startswith(END)
    if truncated or HEADER.startswith(text.strip()):
        raise InputError(
            f"config {source}: truncated or damaged: its last line ('{END} ...') is missing. Restore the file from a "
            f"copy; or, if you edited it and all settings are there, add the line '{END}'."
        )


def _apply(settings: dict[str, Any], override: str) -> None:
    """Applies one `section.key=value` override; the value is parsed as YAML."""
    path, equals, value = override.partition("=")
    *sections, key = path.strip().split(".")
    if not equals or not key:
        raise InputError(f"--set {override}: write it as section.key=value, such as video.size=112.")
    place = _section(settings, sections, f"--set {override}")
    try:
        place[key] = value if _is_prompt(value) else load_yaml(value)
    except InputError as error:
        raise InputError(f"--set {shortened_text(override)}: {error}. Quote the value if it is text.") from error


def _section(settings: dict[str, Any], names: Sequence[str], said: str) -> dict[str, Any]:
    """Returns the section of these nested names; one that null turns off is turned on. Raises InputError for a value,
    naming what was `said`."""
    place = settings
    for name in names:
        if place.get(name) is None:
            place[name] = {}
        place = place[name]
        if not isinstance(place, dict):
            raise InputError(f"{said}: '{name}' is a value, not a section, and has no keys.")
    return place


def _is_prompt(value: str) -> bool:
    """Returns whether a value is an unquoted prompt, which YAML would read as a mapping."""
    return VIDEO in value and not value.lstrip().startswith(("'", '"'))


def _explain(problem: Any) -> str:
    """Explains a pydantic error in plain words; for an unknown key, suggests the nearest known ones."""
    path = [str(part) for part in problem["loc"]]
    name = ".".join(shortened_text(part if part.isprintable() else repr(part), 60) for part in path)
    if problem["type"] == "extra_forbidden":
        known = _known_keys(path)
        near = difflib.get_close_matches(path[-1][:100], known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}."
        return f"unknown key {name}; {hint}"
    message = problem["msg"].removeprefix("Value error, ")
    quote = "; put text in quotes" if problem["type"] == "string_type" else ""
    return f"{name or 'settings'}: {message[0].lower()}{message[1:]} (got {shortened(problem['input'])}{quote})"


def _known_keys(path: Sequence[str]) -> list[str]:
    """Returns the keys of the section that `path` points into."""
    section: type[BaseModel] = Config
    for part in path[:-1]:
        inner = section_in(section.model_fields[part].annotation) if part in section.model_fields else None
        if inner is None:
            return []
        section = inner
    return list(section.model_fields)
