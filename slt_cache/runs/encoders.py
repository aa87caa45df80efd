"""Where the named encoders of a run are: each that its features were extracted with has a file in the run's folder,
under its hash, since config.yaml names one alone and features know no paths."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from slt_cache.config import EncoderConfig, check_config
from slt_cache.config.plain_yaml import dump_yaml, load_yaml
from slt_cache.encoders.names import is_same_name, lasting
from slt_cache.errors import InputError
from slt_cache.features.spec import FeatureSpec
from slt_cache.files import write_text
from slt_cache.runs.run import Run
from slt_cache.runs.settings_use import named

FOLDER = "encoders"
SETTING = "encoder.name"
HOW = {"python", "clips_per_call"}
PLACES = {"name", "weights", *HOW}
"""Settings that are kept: what a spec does not say. Those in HOW may differ from command to command."""
HEADER = "# Where an encoder of this run is; its SHA-256 is the name of this file. Correct what has moved."


def recorded_file(run: Path, spec: FeatureSpec) -> Path:
    """Returns the path of the file about the encoder of these features."""
    return run / FOLDER / f"{spec.encoder_sha256}.yaml"


def record_encoder(run: Run, spec: FeatureSpec) -> None:
    """Keeps where the run's encoder is, which makes features of this spec, if it is a named one."""
    if spec.encoder is None:
        return
    settings = lasting(run.config.encoder).model_dump(mode="json", include=PLACES)
    write_text(recorded_file(run.folder, spec), f"{HEADER}\n{dump_yaml({'encoder': settings})}")


def take_encoders(run: Run, caches: Mapping[Path, FeatureSpec]) -> None:
    """Copies what the folders of caches know about the encoders of their features, if the run does not know it."""
    for cache, spec in caches.items():
        there, here = recorded_file(cache.parent, spec), recorded_file(run.folder, spec)
        if there.is_file() and not here.is_file():
            write_text(here, there.read_text(encoding="utf-8"))


def recorded_encoder(run: Run, spec: FeatureSpec) -> EncoderConfig | None:
    """Returns where the encoder of these features is; None if the run does not know it. Raises InputError for a damaged
    file."""
    path = recorded_file(run.folder, spec)
    if not path.is_file():
        return None
    try:
        found = load_yaml(path.read_text(encoding="utf-8"))
    except (InputError, ValueError) as error:
        raise InputError(f"{path}: {error}. Correct it, or extract these features again.") from error
    return check_config(found if isinstance(found, dict) else {"encoder": found}, str(path)).encoder


def with_overrides(encoder: EncoderConfig, overrides: Sequence[str], asked: EncoderConfig) -> EncoderConfig:
    """Returns the settings of one of several encoders with those of the command line, which `asked` has: the
    interpreter, the clips per call, the weights if it has this one's name, and the last of its names that differs from
    this one in folders alone."""
    of_it = {*HOW, "named_weights"} if is_same_name(asked.name or "", encoder.name or "") else HOW
    changed = {name: getattr(asked, name) for name in of_it if f"encoder.{name}" in named(overrides)}
    same = [name for name in names_asked_for(overrides) if is_same_name(name, encoder.name or "")]
    return encoder.model_copy(update=changed | ({"name": same[-1]} if same else {}))


def names_asked_for(overrides: Sequence[str]) -> list[str]:
    """Returns the names of encoders on a command line, which may have one for each stream."""
    values = [value for setting, _, value in (word.partition("=") for word in overrides) if setting.strip() == SETTING]
    return [name for value in values if isinstance(name := load_yaml(value), str)]
