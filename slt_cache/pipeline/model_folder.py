"""Model folder: all that translating a video takes, in one folder for a colleague, without its run.

It is the folder of a saved translator (`llm/best`) with settings.yaml (preprocessing, generation) and encoder/ (the
visual encoder) in it; record.json has the SHA-256 of every file. export_model.py writes it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slt_cache.advice import CONFIG_FILE, command
from slt_cache.checkpoints.record import read_record
from slt_cache.checkpoints.translator import LlmCheckpoint
from slt_cache.checkpoints.visual import load_encoder_alone
from slt_cache.config import Config, EncoderConfig, load_config
from slt_cache.encoders.base import Encoder
from slt_cache.encoders.registry import open_encoder
from slt_cache.errors import InputError
from slt_cache.hashes import RECORD_FILE, require_whole
from slt_cache.models.saved import ABOUT_FILE, read_translator, translator_folder
from slt_cache.pipeline.encoder import differs_from
from slt_cache.reading import RESTORE
from slt_cache.runs.settings_use import is_used, named

SETTINGS_FILE = "settings.yaml"
SECTIONS = ("generation", "features")
"""Sections of the settings that are kept."""
OF_NAMED_ENCODER = ("encoder", "video")
"""Sections that are kept, too, for an encoder that is used as it comes."""
PROGRAM = "command"
"""Kind of encoder that is a program of the user's. A model folder is data, and runs none that it names or holds."""
ENCODER_FOLDER = "encoder"


@dataclass(frozen=True)
class WholeModel:
    """Everything that translates videos, loaded from a run or a model folder."""

    llm: LlmCheckpoint
    encoder: Encoder
    config: Config
    """Settings of a run; of a model folder, those that it keeps, with defaults for all others."""
    others: tuple[Encoder, ...] = ()
    """Encoders of further streams, in their order."""


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
    if (config.encoder.name or "").startswith(f"{PROGRAM}:") and "encoder.name" not in named(overrides):
        raise InputError(
            f"{folder}: its encoder is the program {config.encoder.name}, and a model folder runs no program itself. "
            f"Name your copy of it: --set encoder.name={PROGRAM}:PATH"
        )
    if "encoder.python" not in named(overrides):  # an interpreter is named by the user alone
        config = config.model_copy(update={"encoder": config.encoder.model_copy(update={"python": None})})
    record = read_record(folder)
    assert record is not None  # required above
    llm = LlmCheckpoint(read_translator(folder, base), record)
    return WholeModel(llm, _encoder(folder / ENCODER_FOLDER, llm, config), config)


def _encoder(folder: Path, llm: LlmCheckpoint, config: Config) -> Encoder:
    encoder: Encoder
    if config.encoder.name is None:
        encoder, advice = load_encoder_alone(folder, llm.model, llm.tokenizer), RESTORE
    else:
        encoder, advice = open_encoder(_found(folder, config.encoder), config.video), "Use the very same encoder."
    different = differs_from(encoder, llm.spec)
    if different:
        which = config.encoder.name or "its encoder"
        raise InputError(f"{folder}: {which} is not what the model was trained with ({'; '.join(different)}). {advice}")
    return encoder


def _found(folder: Path, encoder: EncoderConfig) -> EncoderConfig:
    """Returns the settings of a named encoder with the paths of its files in the folder."""
    kind, colon, which = (encoder.name or "").partition(":")
    here = {"name": f"{kind}:{folder / which}"} if colon and kind != PROGRAM and (folder / which).exists() else {}
    here |= {"weights": str(folder / encoder.weights)} if (folder / encoder.weights).is_file() else {}
    return encoder.model_copy(update=here)


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
