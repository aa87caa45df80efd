"""Model folder: all that translating a video takes, in one folder for a colleague, without its run.

It is the folder of a saved translator (`llm/best`) with settings.yaml (preprocessing, generation) and encoder/ (the
visual encoder) in it; record.json has the SHA-256 of every file. export_model.py writes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slt_cache.advice import CONFIG_FILE, command
from slt_cache.checkpoints.record import read_record
from slt_cache.checkpoints.translator import LlmCheckpoint
from slt_cache.checkpoints.visual import load_encoder_alone
from slt_cache.config import Config, load_config
from slt_cache.encoders.base import Encoder, UnreachableWeights
from slt_cache.encoders.names import in_folder, is_program
from slt_cache.encoders.registry import open_encoder
from slt_cache.errors import InputError
from slt_cache.features.spec import FeatureSpec, Specs, by_name
from slt_cache.hashes import RECORD_FILE, require_whole
from slt_cache.models.saved import ABOUT_FILE, read_translator, translator_folder
from slt_cache.pipeline.encoder import differs_from, of_dim
from slt_cache.reading import RESTORE
from slt_cache.runs.encoders import names_asked_for, with_overrides
from slt_cache.runs.settings_use import is_used, named

SETTINGS_FILE = "settings.yaml"
SECTIONS = ("generation", "features")
"""Sections of the settings that are kept."""
OF_NAMED_ENCODER = ("encoder", "video")
"""Sections that are kept, too, for an encoder that is used as it comes."""
ENCODER_FOLDER = "encoder"


@dataclass(frozen=True)
class WholeModel:
    """Everything that translates videos, loaded from a run or a model folder."""

    llm: LlmCheckpoint
    encoders: Mapping[str, Encoder]
    """Encoder of each stream, by name, in their order; of a single stream, without a name."""
    config: Config
    """Settings of a run; of a model folder, those that it keeps, with defaults for all others."""
    folder: Path


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
    own = [one for one in ("python", "named_weights") if f"encoder.{one}" not in named(overrides)]
    # An interpreter is named by the user alone; weights are in the folder.
    config = config.model_copy(update={"encoder": config.encoder.model_copy(update=dict.fromkeys(own))})
    record = read_record(folder)
    assert record is not None  # required above
    llm = LlmCheckpoint(read_translator(folder, base), record)
    places, found = encoder_folders(folder, llm.specs), {}
    for name, spec in by_name(llm.specs).items():
        try:
            found[name] = _encoder(places[name], llm, spec, _with_encoder(places[name], config, overrides, name))
        except InputError as error:
            raise InputError(f"{folder}: {f'stream {name}: ' if name else ''}{error}") from error
    return WholeModel(llm, found, config, folder)


def encoder_folders(folder: Path, specs: Specs) -> dict[str, Path]:
    """Returns the folder of the encoder of each stream, by name; of a single stream, without a name."""
    place = folder / ENCODER_FOLDER
    return {name: place / str(number) if name else place for number, name in enumerate(by_name(specs))}


def _with_encoder(place: Path, config: Config, overrides: Sequence[str], stream: str) -> Config:
    """Returns the settings of the encoder in a folder, with those of the command line, which `config` has. A program is
    named there alone, as is an interpreter."""
    own = config
    if stream:
        own = load_config(str(place / SETTINGS_FILE)) if (place / SETTINGS_FILE).is_file() else Config()
        there = own.encoder.model_copy(update={"python": None, "named_weights": None})
        own = own.model_copy(update={"encoder": with_overrides(there, overrides, config.encoder)})
    encoder = own.encoder
    if is_program(encoder.name or "") and encoder.name not in names_asked_for(overrides):
        raise InputError(
            f"its encoder is the program {encoder.name}, and a model folder runs no program itself. Name your copy of "
            f"it{', which has the same name' if stream else ''}: --set encoder.name=command:PATH"
        )
    return own.model_copy(update={"encoder": in_folder(encoder, place)})


def _encoder(place: Path, llm: LlmCheckpoint, spec: FeatureSpec, config: Config) -> Encoder:
    """Opens an encoder. Raises InputError if it is not here, or not the one that the model was trained with."""
    encoder: Encoder
    if config.encoder.name is None:
        encoder, which, advice = load_encoder_alone(place, llm.model, llm.tokenizer), "its encoder", RESTORE
    else:
        which, advice = f"encoder {config.encoder.name}", "Use the very same encoder."
        try:
            encoder = of_dim(open_encoder(config.encoder, config.video), spec.dim)
        except UnreachableWeights as error:
            raise InputError(
                f"its encoder (SHA-256 {str(spec.encoder_sha256)[:12]}...) is not in it. {error}"
            ) from error
    different = differs_from(encoder, spec)
    if different:
        raise InputError(f"{which} is not what the model was trained with ({'; '.join(different)}). {advice}")
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
