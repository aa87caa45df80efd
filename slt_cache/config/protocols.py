"""Scoring protocols: named bundles of settings of scoring and search, with what their source says of training besides.
A protocol in `scoring.protocol` sets its settings; another value for one of them is refused, so that a signature that
names the protocol is true. metrics/README.md has the sources."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from slt_cache.config.optimizer import BLEU4
from slt_cache.errors import InputError

if TYPE_CHECKING:
    from slt_cache.config.run import Config

SETTING = "scoring.protocol"


@dataclass(frozen=True)
class Protocol:
    """Bundle of settings, `section.key` -> value, and of what weights were trained with."""

    settings: Mapping[str, Any]
    of_preset: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Further settings by scoring preset, or by corpus, of which a preset has the name."""
    seeds: tuple[int, ...] = ()
    """Seeds of the trainings whose mean is reported; empty if the source names none."""

    def settings_for(self, preset: str | None) -> dict[str, Any]:
        """Returns all its settings for a preset or corpus."""
        return {**self.settings, **self.of_preset.get(preset or "", {})}

    @property
    def keys(self) -> set[str]:
        """All settings that it may set."""
        return {*self.settings, *(key for one in self.of_preset.values() for key in one)}


_AS_IT_IS = {"scoring.final_dot": "keep", "scoring.lowercase": False, "scoring.references": "corpus"}
_BEAMS_4 = {"generation.num_beams": 4, "generation.dev_beams": 4, "generation.length_penalty": 1.0}
_OF_TOKENIZER = {"scoring.final_dot": "keep", "scoring.lowercase": False, "scoring.references": "decoded"}
PROTOCOLS: dict[str, Protocol] = {
    "paper": Protocol({**_AS_IT_IS, "generation.num_beams": 5, "generation.length_penalty": 1.0}),
    "sltbaselines": Protocol(
        {**_OF_TOKENIZER, **_BEAMS_4, "generation.max_new_tokens": 150},
        of_preset={"phoenix14t": {"scoring.final_dot": "add"}},
        seeds=(0, 42, 100),
    ),
    "gfslt-vlp": Protocol({**_OF_TOKENIZER, **_BEAMS_4, "generation.max_new_tokens": 150}),
    "wmt-slt": Protocol({**_AS_IT_IS, "scoring.preset": "plain"}),
}
"""Protocols by name."""


def filled(values: Any) -> Any:
    """Returns the settings of a config with those of its protocol, if it names one. Raises InputError for a setting
    that contradicts it."""
    name = _section(values, "scoring").get("protocol") if isinstance(values, Mapping) else None
    if not isinstance(name, str) or name not in PROTOCOLS:
        return values  # an unknown name is refused with those of all registries
    sections = {key: _section(values, key) if isinstance(value, BaseModel) else value for key, value in values.items()}
    preset = _section(sections, "scoring").get("preset") or _section(sections, "corpus").get("name")
    for setting, value in PROTOCOLS[name].settings_for(preset).items():
        section, _, key = setting.partition(".")
        stated = _section(sections, section)
        if stated.get(key, value) != value:
            raise InputError(
                f"{SETTING}={name} has {setting}={_shown(value)}, but {_shown(stated[key])} is set. Omit one of the "
                f"two ({SETTING}=null for no protocol)."
            )
        sections[section] = {**stated, key: value}
    return sections


def _section(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Returns what is stated in a section, which may be missing or no section at all, which is refused elsewhere."""
    value = values.get(name)
    if isinstance(value, BaseModel):
        return value.model_dump(exclude_unset=True)
    return value if isinstance(value, Mapping) else {}


def release(settings: dict[str, Any], overrides: Sequence[str]) -> None:
    """Removes from the settings of a file those that a protocol named on the command line sets."""
    named = [one.partition("=")[2].strip() for one in overrides if one.partition("=")[0].strip() == SETTING]
    for setting in PROTOCOLS[named[-1]].keys if named and named[-1] in PROTOCOLS else ():
        section, _, key = setting.partition(".")
        if isinstance(stated := settings.get(section), dict):
            stated.pop(key, None)


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def statement(config: "Config", weights: Mapping[str, Any] | None = None) -> str:
    """Returns what a signature says of the protocol of the settings; empty without one. `weights` is the record of the
    scored weights, whose training may have departed from it."""
    name = config.scoring.protocol
    if name is None:
        return ""
    protocol, generation = PROTOCOLS[name], config.generation
    parts = [name, f"references:{config.scoring.references}"]
    if "generation.num_beams" in protocol.settings:
        parts += [f"beams:{generation.num_beams}", f"length-penalty:{generation.length_penalty:g}", f"dev:{BLEU4}"]
    if protocol.seeds:
        parts.append(f"seeds:{','.join(map(str, protocol.seeds))}")
    departures = [] if weights is None else list(_departures(protocol, weights))
    return "|".join([*parts, *([f"but:{','.join(departures)}"] if departures else [])])


def _departures(protocol: Protocol, weights: Mapping[str, Any]) -> Sequence[str]:
    """Returns how the training of weights departed from a protocol: another seed, or another selection on dev."""
    settings = weights.get("settings", {})
    loops = [
        settings[one] for one in ("visual_training", "llm_training", "loop") if isinstance(settings.get(one), dict)
    ]
    searched = weights.get("context", {}).get("generation", {})
    beams = protocol.settings.get("generation.dev_beams")
    found = {
        "dev": next((one["select_by"] for one in loops if one.get("select_by", BLEU4) != BLEU4), None),
        "seed": settings.get("seed") if protocol.seeds and settings.get("seed") not in protocol.seeds else None,
        "dev-beams": searched.get("dev_beams") if beams is not None and searched.get("dev_beams") != beams else None,
    }
    return [f"{key}={value}" for key, value in found.items() if value is not None]


def text_choices(name: str, preset: str) -> dict[str, Any]:
    """Returns the settings of `scoring` that a protocol has for text files, whose translation is not known. Raises
    InputError for an unknown one."""
    if name not in PROTOCOLS:
        raise InputError(f"--protocol {name}: no such protocol. Use {', '.join(PROTOCOLS)}.")
    settings = PROTOCOLS[name].settings_for(preset)
    return {setting.partition(".")[2]: value for setting, value in settings.items() if setting.startswith("scoring.")}
