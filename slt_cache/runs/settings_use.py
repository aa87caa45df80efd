"""Use of settings: which ones a command reads, and which stage of a run they determine. Reads and writes nothing."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from slt_cache.config import OF_NAMED

NAMED_ENCODER = tuple(f"encoder.{name}" for name in OF_NAMED)
OWNED = {
    "corpus": "corpus",
    "video": "visual",
    "augmentation": "visual",
    "encoder": "visual",
    "light_t": "visual",
    "visual_training": "visual",
    "llm_pretraining": "pretrained",
    "features": "features",
    "llm": "llm",
    "llm_training": "llm",
    "control": "control",
    "corpus.fraction": "visual",
    **dict.fromkeys(NAMED_ENCODER, "features"),
}
"""Stage that each section, or single setting, determines. The others (seed, generation, scoring, compute) belong to no
single stage."""
FREE = ("video.decoder",)
"""Settings of these sections that determine no stage, as they change no result."""
STAGES = {
    "corpus": "the manifest",
    "visual": "stage 1",
    "pretrained": "the pre-trained LLM",
    "features": "the feature cache",
    "llm": "stage 2",
    "control": "the Light-T baseline",
}
"""Names of the stages in messages."""
MADE_BY = {
    "corpus": "prepare",
    "visual": "train-visual",
    "pretrained": "llm pretrain",
    "features": "extract-features",
    "llm": "train-llm",
    "control": "demo",
}
_TEXT = tuple(f"llm_pretraining.{name}" for name in ("objective", "text", "sentences", "vocabulary"))
UPSTREAM = {"visual": ("llm", *_TEXT), "pretrained": ("llm",)}
"""Settings that a stage shares with a later one, whose result they outdate."""

_TERMS = ("visual_training.objective", "visual_training.objective_weights")
_SCORED = ("generation", "scoring", "compute")
_READ = ("video.decoder", "compute")
_LLM = ("seed", "corpus", "features", *NAMED_ENCODER, "llm", "llm_pretraining", "llm_training", *_SCORED)
PIXELS = ("video", "augmentation", "encoder")
"""Sections that say what an encoder sees."""
USED = {
    "prepare": ("corpus", "encoder.python", "compute"),
    "train-visual": (
        "seed",
        "corpus",
        *PIXELS,
        "light_t",
        "visual_training",
        "llm",
        *_TEXT,
        *_SCORED,
    ),
    "extract-features": ("features", "augmentation", *_READ, *NAMED_ENCODER),
    "extract-features --encoder": ("features", "compute", *PIXELS),
    "llm pretrain": ("seed", "corpus", "llm", "llm_pretraining", "compute"),
    "train-llm": _LLM,
    "train-llm light-t": (*_LLM, "light_t", "control.lr", *_TERMS),
    "train-llm unfrozen": (*_LLM, *PIXELS),
    "train-joint": (*_LLM, *PIXELS),
    "eval": ("features", *NAMED_ENCODER, *_SCORED, *_READ, "llm.language", "llm.pretrained", "llm_training.unfreeze"),
    "export-attention": ("features", "generation", "compute", "llm.language"),
    "translate": ("generation", *_READ, "features.batch_frames", *NAMED_ENCODER),
    "export-model": ("generation", "features.batch_frames", *NAMED_ENCODER),
    "app": ("generation", *_READ, "features.batch_frames", *NAMED_ENCODER),
    "report": ("scoring", "generation", "compute", "features", "llm.language"),
    "llm merge": (),
    "cache verify": ("features", "augmentation", *_READ, *NAMED_ENCODER),
}
"""Sections, or single settings, that each command reads. A command without a row reads all."""


def is_used(setting: str, command: str) -> bool:
    """Returns whether a command reads a setting (`section.key`)."""
    if command not in USED:
        return True
    return any(setting == used or setting.startswith(f"{used}.") for used in USED[command])


def reads_named_alone(command: str) -> bool | None:
    """Returns whether a command reads the weights of a named encoder, and not those with which stage 1 starts (False:
    it reads both, True: the named one's); None for a command that reads neither or has no row."""
    if command not in USED or not is_used("encoder.named_weights", command):
        return None
    return not is_used("encoder.weights", command)


def stage_of(setting: str) -> str | None:
    """Returns the stage that a setting determines; None if it belongs to no single one."""
    return None if setting in FREE else OWNED.get(setting) or OWNED.get(setting.partition(".")[0])


def named(overrides: Iterable[str]) -> list[str]:
    """Returns the settings named in `section.key=value` overrides, each once."""
    return list(dict.fromkeys(one.partition("=")[0].strip() for one in overrides))


def value_of(settings: Mapping[str, Any], setting: str) -> Any:
    """Returns the value of `section.key` in nested settings; None below a section that is off."""
    place: Any = settings
    for key in setting.split("."):
        place = place.get(key) if isinstance(place, Mapping) else None
    return place


def merged(
    asked: Mapping[str, Any], saved: Mapping[str, Any], keep: Collection[str | None], taken: Collection[str]
) -> Any:
    """Returns the asked settings, with the saved ones for the stages in `keep` (None: those of no single stage), unless
    they are among the `taken` sections or settings."""

    def is_kept(setting: str) -> bool:
        return stage_of(setting) in keep and not {setting, setting.partition(".")[0]} & set(taken)

    return {
        section: {key: (saved[section][key] if is_kept(f"{section}.{key}") else one) for key, one in value.items()}
        if isinstance(value, Mapping)
        else (saved[section] if is_kept(section) else value)
        for section, value in asked.items()
    }
