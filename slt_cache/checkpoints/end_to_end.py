"""Checkpoints of an encoder and LLM trained together: encoder.safetensors next to `llm/`, an ordinary folder of stage
2."""

from dataclasses import replace
from pathlib import Path

from safetensors.torch import save_model

from slt_cache.checkpoints.record import Record, read_record, save_record
from slt_cache.checkpoints.translator import load_llm, save_llm, write_llm_record
from slt_cache.checkpoints.visual import ENCODER_FILE, VisualCheckpoint, read_encoder
from slt_cache.errors import InputError
from slt_cache.files import replacing, rewriting
from slt_cache.hashes import require_whole
from slt_cache.models.translators import VisualTranslator
from slt_cache.text.tokenizer import Tokenizer

LLM_FOLDER = "llm"


def save_end_to_end(
    folder: Path, model: VisualTranslator, tokenizer: Tokenizer, record: Record, llm_record: Record
) -> None:
    """Saves the jointly trained model; `llm_record` is the record stage 2 would write for the LLM alone, with the spec
    of its features."""
    with replacing(folder) as temporary:
        temporary.mkdir()
        save_model(model.encoder, str(temporary / ENCODER_FILE))
        save_llm(temporary / LLM_FOLDER, model.translator, tokenizer, llm_record, earlier=folder / LLM_FOLDER)
        save_record(temporary, record)


def save_end_to_end_record(folder: Path, record: Record) -> None:
    """Replaces the record, and with it that of the LLM."""
    llm = read_record(folder / LLM_FOLDER)
    assert llm is not None  # saved with the weights
    with rewriting(folder) as temporary:
        settings = {**llm.settings, **record.settings}
        write_llm_record(
            temporary / LLM_FOLDER, replace(llm, settings=settings, dev=record.dev, dev_beams=record.dev_beams)
        )
        save_record(temporary, record)


def load_end_to_end(folder: Path, command: str) -> VisualCheckpoint:
    """Loads a jointly trained model, whose translator is the LLM. Raises InputError, naming the `command` that trains
    it, if there is no finished training."""
    record = read_record(folder)
    if record is None or not record.finished:
        raise InputError(f"{folder}: no finished training. Train first: {command}")
    require_whole(folder)
    llm = load_llm(folder / LLM_FOLDER)
    return VisualCheckpoint(VisualTranslator(read_encoder(folder, record), llm.model).eval(), llm.tokenizer, record)
