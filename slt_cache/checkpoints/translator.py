"""Checkpoints of stage 2: the folder of a saved translator with its training record and a model card."""

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from slt_cache.advice import command
from slt_cache.checkpoints.card import model_card
from slt_cache.checkpoints.record import Record, read_record, save_record
from slt_cache.config import BLEU4, TemporalConfig
from slt_cache.config.llm_training import CHANNELS
from slt_cache.errors import InputError
from slt_cache.features.spec import FeatureSpec, Specs, specs_of, streams_of
from slt_cache.files import replacing, rewriting, write_text
from slt_cache.models.saved import (
    ABOUT_FILE,
    About,
    SavedTranslator,
    read_translator,
    write_about,
    write_seq2seq,
    write_translator,
)
from slt_cache.models.translators import SignTranslator
from slt_cache.text.pretrained import holds_decoder_only
from slt_cache.text.tokenizer import Tokenizer

CARD_FILE = "README.md"
LIGHT_T = "Light-T"
HUB_NAME = re.compile(r"\w[\w.-]*(/[\w.-]+)?")


@dataclass(frozen=True)
class LlmCheckpoint:
    """Result of stage 2, in evaluation mode."""

    model: SavedTranslator
    record: Record

    @property
    def tokenizer(self) -> Tokenizer:
        return self.model.tokenizer

    @property
    def spec(self) -> FeatureSpec:
        """Spec of the features that it was trained on and needs; of several streams that of the first."""
        return FeatureSpec.from_json(self.record.settings["features"])

    @property
    def specs(self) -> Specs:
        """Spec of the features that it needs, or that of each of its streams, by name."""
        return specs_of(self.record.settings)


def save_llm(
    folder: Path, model: SignTranslator, tokenizer: Tokenizer, record: Record, earlier: Path | None = None
) -> None:
    """Saves a translator. The weights of a frozen LLM are linked from `earlier`, by default the replaced folder, if it
    holds the same."""
    with replacing(folder) as temporary:
        write_translator(temporary, model, tokenizer, about_of(record), folder if earlier is None else earlier)
        write_llm_record(temporary, record)


def save_llm_record(folder: Path, record: Record) -> None:
    """Replaces the record, description and model card at once, since the record has the hashes of the others."""
    with rewriting(folder) as temporary:
        write_llm_record(temporary, record)


def write_llm_record(folder: Path, record: Record) -> None:
    """Writes record, description and model card one by one into a folder that nobody reads yet."""
    about = about_of(record)
    write_about(folder, about)
    write_text(folder / CARD_FILE, model_card(about, holds_decoder_only(folder)))
    save_record(folder, record)


def about_of(record: Record) -> About:
    """Returns the description that travels with the weights, without paths of this machine."""
    settings = record.settings
    llm = settings.get("llm", {"name": LIGHT_T})  # absent for the Light-T baseline
    training = settings.get("llm_training", {})
    temporal = training.get("temporal")
    name = record.named.get(llm["name"], llm["name"])
    return About(
        features=asdict(FeatureSpec.from_json(settings["features"])),
        language=settings["language"],
        llm=_public(name) + ("" if llm.get("pretrained", True) else " (architecture alone)"),
        lora=llm.get("lora"),
        temporal=None if temporal is None else TemporalConfig.model_validate(temporal),
        streams={name: asdict(spec) for name, spec in streams_of(settings).items()},
        stream_fusion=training.get("stream_fusion", CHANNELS),
        dev=record.dev or None,
        tool=record.tool,
        **{**record.context, "scoring": _scoring(record)},
    )


def _scoring(record: Record) -> dict[str, Any]:
    """Returns the scoring of dev, with the metric that selected the weights unless it is BLEU-4."""
    scoring: dict[str, Any] = record.context.get("scoring", {})
    key = record.selected_by.key
    return scoring if key == BLEU4 or not scoring else {**scoring, "select_by": key}


def _public(name: str) -> str:
    is_path = Path(name).exists() or not HUB_NAME.fullmatch(name)
    return Path(name).name if is_path else name


def save_seq2seq(folder: Path, seq2seq: PreTrainedModel, tokenizer: Tokenizer, record: Record) -> None:
    """Saves the encoder-decoder alone, as after pre-training."""
    with replacing(folder) as temporary:
        write_seq2seq(temporary, seq2seq, tokenizer)
        save_record(temporary, record)


def load_llm(folder: Path) -> LlmCheckpoint:
    """Loads a finished stage 2. Raises InputError if the folder has none."""
    record = require_llm(folder)
    return LlmCheckpoint(read_translator(folder), record)


def require_llm(folder: Path) -> Record:
    """Returns the record of a finished stage 2. Raises InputError if the folder has none."""
    record = read_record(folder)
    run = folder.parents[1]
    if record is None or not record.finished:
        raise InputError(
            f"{folder}: no finished training from the cache. "
            f"Train first: {command('train-llm --features feats.h5', run=run)}"
        )
    if not (folder / ABOUT_FILE).is_file():
        raise InputError(
            f"{folder}: saved by an older version, without {ABOUT_FILE}. "
            f"Train again: {command('train-llm --restart', run=run)}"
        )
    return record
