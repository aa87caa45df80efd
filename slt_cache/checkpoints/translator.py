"""Stage 2 on disk: the folder of a saved translator with the training record and a model card."""

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from slt_cache.advice import command
from slt_cache.checkpoints.card import model_card
from slt_cache.checkpoints.record import Record, read_record, save_record
from slt_cache.config import BLEU4
from slt_cache.errors import InputError
from slt_cache.features.spec import FeatureSpec
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
from slt_cache.text.tokenizer import Tokenizer

CARD_FILE = "README.md"
LIGHT_T = "Light-T"
HUB_NAME = re.compile(r"\w[\w.-]*(/[\w.-]+)?")


@dataclass(frozen=True)
class LlmCheckpoint:
    """What stage 2 left, in evaluation mode."""

    model: SavedTranslator
    record: Record

    @property
    def tokenizer(self) -> Tokenizer:
        return self.model.tokenizer

    @property
    def spec(self) -> FeatureSpec:
        """The features it was trained on, and wants."""
        return FeatureSpec.from_json(self.record.settings["features"])


def save_llm(folder: Path, model: SignTranslator, tokenizer: Tokenizer, record: Record) -> None:
    with replacing(folder) as temporary:
        write_translator(temporary, model, tokenizer, _about(record))
        write_llm_record(temporary, record)


def save_llm_record(folder: Path, record: Record) -> None:
    """Replaces the record, and what is told of it to whoever takes the folder elsewhere: all at once, since the record
    has the hashes of the others."""
    with rewriting(folder) as temporary:
        write_llm_record(temporary, record)


def write_llm_record(folder: Path, record: Record) -> None:
    """Writes them one after another into a folder that nobody reads yet."""
    about = _about(record)
    write_about(folder, about)
    write_text(folder / CARD_FILE, model_card(about))
    save_record(folder, record)


def _about(record: Record) -> About:
    """What the record says that goes with the weights wherever they go: no paths of this machine."""
    settings = record.settings
    llm = settings.get("llm", {"name": LIGHT_T})  # the Light-T baseline has none
    name = record.named.get(llm["name"], llm["name"])
    return About(
        features=asdict(FeatureSpec.from_json(settings["features"])),
        language=settings["language"],
        llm=_public(name) + ("" if llm.get("pretrained", True) else " (architecture alone)"),
        lora=llm.get("lora"),
        dev=record.dev or None,
        tool=record.tool,
        **{**record.context, "scoring": _scoring(record)},
    )


def _scoring(record: Record) -> dict[str, Any]:
    """Returns how dev was scored, and by what the weights were selected if not by BLEU-4."""
    scoring: dict[str, Any] = record.context.get("scoring", {})
    key = record.selected_by.key
    return scoring if key == BLEU4 or not scoring else {**scoring, "select_by": key}


def _public(name: str) -> str:
    is_path = Path(name).exists() or not HUB_NAME.fullmatch(name)
    return Path(name).name if is_path else name


def save_seq2seq(folder: Path, seq2seq: PreTrainedModel, tokenizer: Tokenizer, record: Record) -> None:
    """The encoder-decoder alone, as pre-training leaves it."""
    with replacing(folder) as temporary:
        write_seq2seq(temporary, seq2seq, tokenizer)
        save_record(temporary, record)


def load_llm(folder: Path) -> LlmCheckpoint:
    """Raises InputError where no finished stage 2 lies in the folder."""
    record = read_record(folder)
    run = folder.parents[1]
    if record is None or not record.finished:
        raise InputError(
            f"{folder}: no finished training from the cache here. "
            f"Train it first: {command('train-llm --features feats.h5', run=run)}"
        )
    if not (folder / ABOUT_FILE).is_file():
        raise InputError(
            f"{folder}: saved by an older version, without {ABOUT_FILE}. "
            f"Train it again: {command('train-llm --restart', run=run)}"
        )
    return LlmCheckpoint(read_translator(folder), record)
