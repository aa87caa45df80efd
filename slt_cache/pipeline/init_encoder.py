"""`encoder.init_from`: a training begins with the visual encoder and the Light-T of another run's stage 1. They are
read once, when the training starts; a resumed one does not need the other run."""

import json
from dataclasses import dataclass
from pathlib import Path

from slt_cache.checkpoints.record import Record, read_record
from slt_cache.checkpoints.visual import ENCODER_FILE, LIGHT_T_FILE, load_parts
from slt_cache.config import EncoderConfig, LightTConfig
from slt_cache.errors import InputError
from slt_cache.hashes import require_whole
from slt_cache.models.translators import VisualTranslator
from slt_cache.text.tokenizer import Tokenizer

SETTING = "encoder.init_from"


@dataclass(frozen=True)
class InitialEncoder:
    """Stage 1 of another run that a training begins with; it fits, but for the parts that the settings omit."""

    name: str
    """Value of encoder.init_from."""
    folder: Path
    takes: tuple[str, ...]
    """Parts that are taken: backbone, temporal, light_t."""
    fresh: tuple[str, ...]
    """Parts that start fresh."""

    @property
    def summary(self) -> str:
        """One line that names what is taken and what starts fresh."""
        fresh = f"; fresh: {_words(self.fresh)}" if self.fresh else ""
        return f"training begins with {self.name}: {_words(self.takes)}{fresh}"

    def load_into(self, model: VisualTranslator) -> str:
        """Loads the parts that are taken; returns the summary."""
        load_parts(self.folder, model, self.takes)
        return self.summary


def initial_encoder(
    encoder: EncoderConfig, light_t: LightTConfig | None, tokenizer: Tokenizer | None
) -> InitialEncoder | None:
    """Returns what `encoder.init_from` names; None if it is not set. Without `light_t`, the training has no Light-T;
    without `tokenizer`, that of Light-T is not compared.

    Raises InputError if the folder is missing, damaged or no finished stage 1, and if parts do not fit that the
    settings do not omit."""
    if encoder.init_from is None:
        return None
    folder, record = _find(encoder.init_from)
    made = EncoderConfig.model_validate(record.settings["encoder"])
    problems = {"backbone": _other(made, encoder, ("backbone",)), "temporal": _other(made, encoder, ("dim", "kernel"))}
    if light_t is not None:
        problems["light_t"] = _other_light_t(folder, record, light_t, tokenizer) or _other(made, encoder, ("dim",))
    found = {part: why for part, why in problems.items() if why and part not in encoder.init_without}
    if found:
        parts = json.dumps([*encoder.init_without, *found]).replace(" ", "")
        what_next = (
            "Set encoder.backbone to that one, or start with encoder.weights"
            if "backbone" in found
            else f"Change the settings of this run, or start these parts fresh: --set 'encoder.init_without={parts}'"
        )
        reasons = "; ".join(f"{part}: {why}" for part, why in found.items())
        raise InputError(f"{SETTING} {encoder.init_from}: does not fit ({reasons}). {what_next}")
    fresh = tuple(part for part in problems if part in encoder.init_without)
    return InitialEncoder(encoder.init_from, folder, tuple(part for part in problems if part not in fresh), fresh)


def _find(name: str) -> tuple[Path, Record]:
    folder = Path(name)
    record = read_record(folder) if folder.is_dir() else None
    if record is None or not record.finished or not (folder / ENCODER_FILE).is_file():
        best = folder / "visual" / "best"
        meant = f" Did you mean {best}?" if (best / ENCODER_FILE).is_file() else ""
        why = f"no {ENCODER_FILE} with a finished record" if folder.is_dir() else "no such folder"
        raise InputError(f"{SETTING} {name}: no finished stage 1 ({why}).{meant} Name visual/best of a run.")
    require_whole(folder)
    return folder, record


def _other(made: EncoderConfig, asked: EncoderConfig, names: tuple[str, ...]) -> str:
    pairs = ((name, getattr(made, name), getattr(asked, name)) for name in names)
    return ", ".join(f"{name} {there} there, {here} here" for name, there, here in pairs if there != here)


def _other_light_t(folder: Path, record: Record, light_t: LightTConfig, tokenizer: Tokenizer | None) -> str:
    """Returns why Light-T does not fit; empty if it does."""
    if not (folder / LIGHT_T_FILE).is_file():
        return "there is none"
    size, made = record.settings["light_t"]["size"], record.settings["tokenizer"]
    if size != light_t.size:
        return f"size {size} there, {light_t.size} here"
    if tokenizer is None:
        return ""
    if made["language"] != tokenizer.language:
        return f"language {made['language']} there, {tokenizer.language} here"
    return "" if made["sha256"] == tokenizer.sha256 else "another tokenizer"


def _words(parts: tuple[str, ...]) -> str:
    words = {"backbone": "backbone", "temporal": "temporal module", "light_t": "Light-T"}
    return ", ".join(words[part] for part in parts)
