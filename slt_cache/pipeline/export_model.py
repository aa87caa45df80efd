"""Export of a trained run as a model folder (model_folder.py), which is read without the run."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from slt_cache.checkpoints.card import model_card
from slt_cache.checkpoints.end_to_end import LLM_FOLDER, load_end_to_end
from slt_cache.checkpoints.record import Record, write_record
from slt_cache.checkpoints.translator import about_of, require_llm
from slt_cache.checkpoints.visual import VisualCheckpoint, load_visual, save_encoder
from slt_cache.config import Config, EncoderConfig
from slt_cache.config.plain_yaml import dump_yaml
from slt_cache.encoders.base import Encoder
from slt_cache.encoders.names import data_of, travelling
from slt_cache.errors import InputError
from slt_cache.features.spec import FeatureSpec, by_name, specs_of
from slt_cache.files import replacing, write_text
from slt_cache.folders import TEMPORARY
from slt_cache.hashes import EDITABLE, RECORD_FILE, hashes_of, require_whole
from slt_cache.models.saved import read_about, write_search, write_translator
from slt_cache.models.saved_lora import BASE_WEIGHTS, IDS_FILE, LORA_FOLDER, lora_base
from slt_cache.pipeline.encoder import encoders_of, run_with_encoder
from slt_cache.pipeline.model_folder import OF_NAMED_ENCODER, SECTIONS, SETTINGS_FILE, encoder_folders
from slt_cache.pipeline.reliability import write_blank
from slt_cache.reading import read_object
from slt_cache.runs.llm_folders import trimmed_ids
from slt_cache.runs.run import Run
from slt_cache.runs.unfinished import BEST
from slt_cache.runs.variants import MODELS, VISUAL
from slt_cache.text.pretrained import holds_decoder_only

HEADER = "# Settings of translating, hashed in record.json: change them with --set, not here."


@dataclass(frozen=True)
class ExportedModel:
    """What was written."""

    folder: Path
    files: dict[str, str]
    """SHA-256 of every file but the record, by relative path."""
    bytes: int
    base: dict[str, str] | None
    """Name and SHA-256 of the LLM that LoRA adapts, if it is not in the folder."""
    outside: dict[str, dict[str, str]]
    """Name and SHA-256, `encoder` and `sha256`, of encoders that are not in the folder, by stream; of a single stream
    without a name."""


@dataclass(frozen=True)
class _Source:
    """Trained model to export."""

    record: Record
    """Record as stage 2 writes it, with the spec of its features."""
    encoders: Mapping[str, Encoder]
    """Encoder of each stream, by name; of a single stream, without a name."""
    write: Callable[[Path], object]
    """Function that writes its translator into a folder that does not exist yet."""


def export_model(run: Run, out: Path, model: str = "llm", with_base: bool = True) -> ExportedModel:
    """Writes a model of the run into the new folder `out`, complete or not at all. Without `with_base`, the LLM that
    LoRA adapts is not included, but named with its hash.

    Raises InputError if `out` exists, if the model is not trained, or if it reads no videos."""
    if model not in MODELS:
        raise InputError(f"--model {model}: no such model. Use {', '.join(MODELS)}.")
    if out.exists() or out.is_symlink():
        raise InputError(f"{out}: already exists; export-model does not overwrite. Choose another --out.")
    source = _source(run, model, with_base)
    with replacing(out) as folder:
        source.write(folder)
        outside = _write_encoders(folder, run, source)
        write_blank(folder, run, specs_of(source.record.settings), model)
        write_search(folder, run.config.generation.model_dump(mode="json"))
        licences = {name: encoder.licence for name, encoder in source.encoders.items()}
        write_text(folder / EDITABLE[0], model_card(read_about(folder), holds_decoder_only(folder), licences))
        files = hashes_of(folder)
        write_record(folder, replace(source.record, named={}, files=files, log_sha256=None, state_sha256=None))
    size = sum((out / name).stat().st_size for name in files)
    return ExportedModel(out, files, size, None if with_base else lora_base(out), outside)


def _source(run: Run, model: str, with_base: bool) -> _Source:
    best, variant = run.folder / model / BEST, MODELS[model]
    if variant is VISUAL:
        return _light_t_of_stage_1(run, load_visual(best))
    encoder = load_end_to_end(best, run.command(variant.words)) if variant.own_encoder else None
    folder = best / LLM_FOLDER if variant.own_encoder else best
    record = require_llm(folder)
    require_whole(folder)
    left_out = [RECORD_FILE, f"*{TEMPORARY}"]
    write: Callable[[Path], object] = partial(shutil.copytree, folder, ignore=shutil.ignore_patterns(*left_out))
    if not with_base:
        _require_base(folder)
        write = partial(_write_without_base, folder, [*left_out, BASE_WEIGHTS], trimmed_ids(run, record))
    return _Source(record, {"": encoder} if encoder else encoders_of(run, specs_of(record.settings)), write)


def _light_t_of_stage_1(run: Run, visual: VisualCheckpoint) -> _Source:
    """Returns stage 1's Light-T as stage 2 would save it."""
    spec = visual.spec(run.config.features.model_copy(update={"level": "sign"}), run.config.augmentation)
    language = visual.record.settings["tokenizer"]["language"]
    settings = {**visual.record.settings, "features": spec.to_json(), "language": language}
    record = replace(visual.record, settings=settings)

    def write(folder: Path) -> None:
        folder.mkdir()
        write_translator(folder, visual.model.translator, visual.tokenizer, about_of(record))

    return _Source(record, {"": visual}, write)


def _write_encoders(folder: Path, run: Run, source: _Source) -> dict[str, dict[str, str]]:
    """Writes the encoders and the settings: of a named encoder its name and the files that it was made from, of others
    the weights. Returns `ExportedModel.outside`."""
    specs, settings, outside = specs_of(source.record.settings), {"": run.config}, {}
    places = encoder_folders(folder, specs)
    for name, spec in by_name(specs).items():
        encoder = source.encoders[name]
        places[name].parent.mkdir(exist_ok=True)
        if isinstance(encoder, VisualCheckpoint):
            save_encoder(places[name], encoder, spec.level)
            continue
        config = run_with_encoder(run, spec, alone=not name).config
        settings[name] = config.model_copy(update={"encoder": _copied(config.encoder, places[name])})
        if not places[name].is_dir():
            outside[name] = {"encoder": str(spec.encoder), "sha256": str(spec.encoder_sha256)}
    is_named = isinstance(specs, FeatureSpec) and specs.encoder is not None
    _write_settings(folder, settings.pop(""), (*SECTIONS, *(OF_NAMED_ENCODER if is_named else ())))
    for name, config in settings.items():
        _write_settings(places[name], config, OF_NAMED_ENCODER)
    return outside


def _write_settings(folder: Path, config: Config, sections: Sequence[str]) -> None:
    settings = config.model_dump(mode="json", include=set(sections))
    settings.get("video", {}).pop("decoder", None)  # a choice of this machine
    write_text(folder / SETTINGS_FILE, f"{HEADER}\n{dump_yaml(settings)}")


def _copied(encoder: EncoderConfig, folder: Path) -> EncoderConfig:
    """Copies what a named encoder was made from into a folder, but no program; returns its settings without the folders
    of this machine."""
    for path in data_of(encoder):
        folder.mkdir(exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, folder / path.resolve().name)
        else:
            shutil.copyfile(path, folder / path.name)
    return travelling(encoder)


def _write_without_base(source: Path, left_out: Sequence[str], ids: Path | None, folder: Path) -> None:
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns(*left_out))
    if ids is not None:
        shutil.copyfile(ids, folder / LORA_FOLDER / IDS_FILE)


def _require_base(folder: Path) -> None:
    """Raises InputError unless the LLM can be left out of the folder."""
    if not (folder / LORA_FOLDER).is_dir():
        raise InputError(f"--without-base: the LLM of {folder} was trained whole, without LoRA. Omit the option.")
    if "quantization_config" in read_object(folder / "config.json"):
        raise InputError(f"--without-base: the LLM of {folder} is quantized, in this run alone. Omit the option.")
