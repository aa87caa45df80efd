"""Model folder: all that translating a video takes, in one folder for a colleague, without its run.

It is the folder of a saved translator (`llm/best`) with settings.yaml (preprocessing, generation) and encoder/ (the
visual encoder) in it; record.json has the SHA-256 of every file. export_model.py writes it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slt_cache.advice import CONFIG_FILE, command
from slt_cache.checkpoints.record import read_record
from slt_cache.checkpoints.translator import LlmCheckpoint
from slt_cache.checkpoints.visual import VisualCheckpoint, load_encoder_alone
from slt_cache.config import Config, load_config
from slt_cache.encoders.base import Encoder
from slt_cache.errors import InputError
from slt_cache.features.spec import FeatureSpec
from slt_cache.hashes import RECORD_FILE, require_whole
from slt_cache.models.saved import ABOUT_FILE, SavedTranslator, read_translator, translator_folder
from slt_cache.pipeline.encoder import differs_from
from slt_cache.reading import RESTORE
from slt_cache.runs.settings_use import is_used, named

SETTINGS_FILE = "settings.yaml"
SECTIONS = ("generation", "features")
"""Sections of the settings that are kept."""
ENCODER_FOLDER = "encoder"


@dataclass(frozen=True)
class WholeModel:
    """Everything that translates videos, loaded from a run or a model folder."""

    llm: LlmCheckpoint
    encoder: Encoder
    config: Config
    """Settings of a run; of a model folder, those of generation and features, with defaults for all others."""


def read_model_folder(
    name: str | Path, overrides: Sequence[str] = (), device: str | None = None, base: str | Path | None = None
) -> WholeModel:
    """Loads a model folder by its path or hub name. `overrides` are settings that `translate` reads, as
    `section.key=value`; `device` replaces `compute.device`; `base` is the LLM that LoRA adapts, if the folder does not
    hold it.

    Raises InputError if the folder is damaged, or of another kind, or if its encoder is not that of its translator."""
    folder = translator_folder(str(name))
    _require_model_folder(folder)
    for setting in named(overrides):
        if not is_used(setting, "translate"):
            raise InputError(f"{setting}: fixed in {folder}, as the model was trained with it. Omit the setting.")
    on = [] if device is None else [f"compute.device={device}"]
    config = load_config(str(folder / SETTINGS_FILE), [*overrides, *on])
    record = read_record(folder)
    assert record is not None  # required above
    llm = LlmCheckpoint(read_translator(folder, base), record)
    return WholeModel(llm, _encoder(folder, llm.model, llm.spec), config)


def _encoder(folder: Path, llm: SavedTranslator, spec: FeatureSpec) -> VisualCheckpoint:
    encoder = load_encoder_alone(folder / ENCODER_FOLDER, llm, llm.tokenizer)
    different = differs_from(encoder, spec)
    if different:
        raise InputError(
            f"{folder / ENCODER_FOLDER}: not the encoder of this model ({'; '.join(different)}). {RESTORE}"
        )
    return encoder


def _require_model_folder(folder: Path) -> None:
    """Raises InputError, saying what to use, for a folder of another kind, and for a damaged one."""
    export = command("export-model", run="RUN", out="NEW")
    if (folder / CONFIG_FILE).is_file():
        own = command("export-model", run=folder, out="NEW")
        raise InputError(f"{folder}: a run folder, not a model folder. Use --run {folder}, or make one of it: {own}")
    if not (folder / RECORD_FILE).is_file():
        what = "damaged" if (folder / SETTINGS_FILE).is_file() else "not a model folder"
        raise InputError(f"{folder}: {what}: it has no {RECORD_FILE}. Use a whole copy of what this made: {export}")
    require_whole(folder)
    if not (folder / SETTINGS_FILE).is_file():
        what = "a translator without its visual encoder" if (folder / ABOUT_FILE).is_file() else "not a translator"
        raise InputError(f"{folder}: {what}, so it cannot read videos. Use a folder that this made: {export}")
