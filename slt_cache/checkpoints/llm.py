"""Stage 2 on disk: an ordinary `from_pretrained` folder with the adapter and the record beside the LLM."""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_model, save_model
from transformers import AutoConfig, AutoModelForSeq2SeqLM, PreTrainedModel
from transformers.utils import logging

from slt_cache.checkpoints.record import Record, read_record, write_record
from slt_cache.errors import InputError
from slt_cache.features.spec import FeatureSpec
from slt_cache.files import replacing
from slt_cache.models.sign_translator import SignTranslator
from slt_cache.text.tokenizer import Tokenizer, hub_message, load_tokenizer

ADAPTER_FILE = "adapter.safetensors"

logging.disable_progress_bar()  # a bar for each file that is written would tear our own apart


@dataclass(frozen=True)
class LlmCheckpoint:
    """What stage 2 left, in evaluation mode."""

    model: SignTranslator
    tokenizer: Tokenizer
    record: Record

    @property
    def spec(self) -> FeatureSpec:
        """The features it was trained on, and wants."""
        return FeatureSpec.from_json(self.record.settings["features"])


def load_seq2seq(name: str, pretrained: bool = True, dropout: float | None = None) -> PreTrainedModel:
    """An encoder-decoder by hub name or folder; with `pretrained` false its architecture with fresh weights
    (paper, table 10). Raises InputError where it cannot be had."""
    changes = {} if dropout is None else {"dropout": dropout}
    try:
        config = AutoConfig.from_pretrained(name, **changes)
        if not pretrained:
            return AutoModelForSeq2SeqLM.from_config(config)
        return AutoModelForSeq2SeqLM.from_pretrained(name, config=config, dtype=torch.float32)
    except (OSError, ValueError) as error:
        raise InputError(hub_message(name, error)) from error


def save_llm(folder: Path, model: SignTranslator, tokenizer: Tokenizer, record: Record) -> None:
    with replacing(folder) as temporary:
        _write_seq2seq(temporary, model.seq2seq, tokenizer, record)
        save_model(model.adapter, str(temporary / ADAPTER_FILE))


def save_seq2seq(folder: Path, seq2seq: PreTrainedModel, tokenizer: Tokenizer, record: Record) -> None:
    """The encoder-decoder alone, as pre-training leaves it."""
    with replacing(folder) as temporary:
        _write_seq2seq(temporary, seq2seq, tokenizer, record)


def _write_seq2seq(folder: Path, seq2seq: PreTrainedModel, tokenizer: Tokenizer, record: Record) -> None:
    seq2seq.save_pretrained(folder)
    tokenizer.save(folder)
    write_record(folder, record)


def load_llm(folder: Path) -> LlmCheckpoint:
    """Raises InputError where no finished stage 2 lies in the folder."""
    record = read_record(folder)
    if record is None or not record.finished:
        raise InputError(
            f"{folder}: no finished training from the cache here. "
            f"Train it first: slt-cache train-llm --features feats.h5 --run {folder.parents[1]}"
        )
    tokenizer = load_tokenizer(str(folder), record.settings["language"])
    spec = FeatureSpec.from_json(record.settings["features"])
    model = SignTranslator(spec.dim, load_seq2seq(str(folder)), tokenizer.start)
    load_model(model.adapter, folder / ADAPTER_FILE)
    return LlmCheckpoint(model.eval(), tokenizer, record)
