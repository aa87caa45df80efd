"""Export of a trained run as a model folder (model_folder.py), which is read without the run."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from slt_cache.checkpoints.card import model_card
from slt_cache.checkpoints.end_to_end import LLM_FOLDER, load_end_to_end
from slt_cache.checkpoints.record import Record, write_record
from slt_cache.checkpoints.translator import about_of, require_llm
from slt_cache.checkpoints.visual import VisualCheckpoint, load_visual, save_encoder
from slt_cache.config import Config, EncoderConfig
from slt_cache.config.plain_yaml import dump_yaml
from slt_cache.encoders.base import Encoder
from slt_cache.errors import InputError
from slt_cache.features.spec import FeatureSpec, streams_of
from slt_cache.files import replacing, write_text
from slt_cache.folders import TEMPORARY
from slt_cache.hashes import EDITABLE, RECORD_FILE, hashes_of, require_whole
from slt_cache.models.saved import read_about, write_search, write_translator
from slt_cache.models.saved_lora import BASE_WEIGHTS, LORA_FOLDER, lora_base
from slt_cache.pipeline.encoder import encoder_of
from slt_cache.pipeline.model_folder import ENCODER_FOLDER, OF_NAMED_ENCODER, PROGRAM, SECTIONS, SETTINGS_FILE
from slt_cache.reading import read_object
from slt_cache.runs.run import Run
from slt_cache.runs.unfinished import BEST
from slt_cache.runs.variants import MODELS, VISUAL

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


@dataclass(frozen=True)
class _Source:
    """Trained model to export."""

    record: Record
    """Record as stage 2 writes it, with the spec of its features."""
    encoder: Encoder
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
        _write_encoder(folder, run.config, source)
        write_search(folder, run.config.generation.model_dump(mode="json"))
        decoder_only = not read_object(folder / "config.json").get("is_encoder_decoder", False)
        write_text(folder / EDITABLE[0], model_card(read_about(folder), decoder_only, source.encoder.licence))
        files = hashes_of(folder)
        write_record(folder, replace(source.record, named={}, files=files, log_sha256=None, state_sha256=None))
    size = sum((out / name).stat().st_size for name in files)
    return ExportedModel(out, files, size, None if with_base else lora_base(out))


def _source(run: Run, model: str, with_base: bool) -> _Source:
    best, variant = run.folder / model / BEST, MODELS[model]
    if variant is VISUAL:
        return _light_t_of_stage_1(run, load_visual(best))
    encoder = load_end_to_end(best, run.command(variant.words)) if variant.own_encoder else None
    folder = best / LLM_FOLDER if variant.own_encoder else best
    record = require_llm(folder)
    require_whole(folder)
    if streams := streams_of(record.settings):
        raise InputError(
            f"{folder}: reads {len(streams)} streams of features ({', '.join(streams)}); a model folder holds the "
            "encoder of one. Share the run folder and its caches, or train on a single stream."
        )
    if not with_base:
        _require_base(folder)
    left_out = (RECORD_FILE, f"*{TEMPORARY}", *(() if with_base else (BASE_WEIGHTS,)))
    write = partial(shutil.copytree, folder, ignore=shutil.ignore_patterns(*left_out))
    return _Source(record, encoder or encoder_of(run, _spec(record)), write)


def _light_t_of_stage_1(run: Run, visual: VisualCheckpoint) -> _Source:
    """Returns stage 1's Light-T as stage 2 would save it."""
    spec = visual.spec(run.config.features.model_copy(update={"level": "sign"}), run.config.augmentation)
    language = visual.record.settings["tokenizer"]["language"]
    settings = {**visual.record.settings, "features": spec.to_json(), "language": language}
    record = replace(visual.record, settings=settings)

    def write(folder: Path) -> None:
        folder.mkdir()
        write_translator(folder, visual.model.translator, visual.tokenizer, about_of(record))

    return _Source(record, visual, write)


def _write_encoder(folder: Path, config: Config, source: _Source) -> None:
    """Writes what the encoder needs, and the settings: of a named encoder its name and the files that it was made from,
    of others the weights."""
    sections: tuple[str, ...] = SECTIONS
    if isinstance(source.encoder, VisualCheckpoint):
        save_encoder(folder / ENCODER_FOLDER, source.encoder, _spec(source.record).level)
    else:
        sections = (*SECTIONS, *OF_NAMED_ENCODER)
        config = config.model_copy(update={"encoder": _copied(config.encoder, folder / ENCODER_FOLDER)})
    settings = config.model_dump(mode="json", include=set(sections))
    write_text(folder / SETTINGS_FILE, f"{HEADER}\n{dump_yaml(settings)}")


def _copied(encoder: EncoderConfig, folder: Path) -> EncoderConfig:
    """Copies the folder and the file that a named encoder was made from, but no program; returns its settings, which
    name them without the folders of this machine."""
    kind, _, which = (encoder.name or "").partition(":")
    names: dict[str, Any] = {"init_from": None, "init_without": (), "python": None}
    for name, path, kept in (("name", Path(which), f"{kind}:"), ("weights", Path(encoder.weights), "")):
        if path.name and (path.is_absolute() or path.exists()):
            names[name] = f"{kept}{path.name}"
        if path.name and path.is_dir():
            shutil.copytree(path, folder / path.name)
        elif path.is_file() and kept != f"{PROGRAM}:":
            folder.mkdir(exist_ok=True)
            shutil.copyfile(path, folder / path.name)
    return encoder.model_copy(update=names)


def _require_base(folder: Path) -> None:
    """Raises InputError unless the LLM can be left out of the folder."""
    if not (folder / LORA_FOLDER).is_dir():
        raise InputError(f"--without-base: the LLM of {folder} was trained whole, without LoRA. Omit the option.")
    if "quantization_config" in read_object(folder / "config.json"):
        raise InputError(f"--without-base: the LLM of {folder} is quantized, in this run alone. Omit the option.")


def _spec(record: Record) -> FeatureSpec:
    return FeatureSpec.from_json(record.settings["features"])
