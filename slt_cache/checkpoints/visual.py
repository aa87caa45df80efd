"""Checkpoints of stage 1: encoder and Light-T as safetensors, tokenizer, record."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import PreTrainedModel

from slt_cache.advice import command
from slt_cache.checkpoints.record import Record, read_record, save_record
from slt_cache.config import AugmentationConfig, EncoderConfig, FeaturesConfig, LightTConfig, VideoConfig
from slt_cache.encoders.base import require_made, spec_settings
from slt_cache.encoders.frozen import FrozenEncoder
from slt_cache.encoders.visual_encoder import VisualEncoder
from slt_cache.encoders.weights import ENCODER_FILE as ENCODER_FILE
from slt_cache.encoders.weights import load_backbone
from slt_cache.errors import InputError
from slt_cache.features.spec import FeatureSpec
from slt_cache.files import replacing
from slt_cache.hashes import require_whole
from slt_cache.models.translators import SignTranslator, VisualTranslator, make_light_t
from slt_cache.models.weights import load_weights, read_tensors, tensors_sha256
from slt_cache.text.tokenizer import Tokenizer, load_tokenizer

LIGHT_T_FILE = "light_t.safetensors"


@dataclass(frozen=True)
class VisualCheckpoint:
    """Result of stage 1, in evaluation mode."""

    model: VisualTranslator
    tokenizer: Tokenizer
    record: Record

    @property
    def video(self) -> VideoConfig:
        """Video settings that the encoder was trained with."""
        return VideoConfig.model_validate(self.record.settings["video"])

    @property
    def licence(self) -> str:
        """Licence of code and first weights, in one line."""
        encoder = EncoderConfig.model_validate(self.record.settings["encoder"])
        begun = "ImageNet weights (images for non-commercial research)" if encoder.first_weights == "imagenet" else ""
        start = f", begun with {begun or 'weights of another training'}" if encoder.first_weights != "none" else ""
        return f"{encoder.backbone} of {self.model.encoder.kind.licence}, trained on the corpus{start}"

    @property
    def made_at(self) -> str:
        """Time when the training finished."""
        return self.record.finished_at

    def spec(self, features: FeaturesConfig, augmentation: AugmentationConfig) -> FeatureSpec:
        """Returns the spec of this encoder's features with these settings. Raises InputError for imported features,
        which no encoder makes."""
        require_made(features)
        encoder = self.model.encoder
        dims = {"frame": encoder.kind.dim, "sign": encoder.dim, "hidden": self.model.translator.kind.width}
        return FeatureSpec(
            encoder_sha256=self.sha256(features.level),
            dim=dims[features.level],
            backbone=encoder.kind.name,
            **spec_settings(self.video, features, augmentation),
        )

    def frozen(
        self, spec: FeatureSpec, device: torch.device, precision: str, batch_frames: int | None, size: int | None = None
    ) -> FrozenEncoder:
        return FrozenEncoder(
            self.model.encoder,
            level=spec.level,
            dtype=spec.dtype,
            precision=precision,
            device=device,
            batch_frames=batch_frames,
            translator=self.model.translator,
            size=size,
        )

    def sha256(self, level: str) -> str:
        """Returns the SHA-256 over all tensors that determine the features of a level."""
        source = self.model if level == "hidden" else self.model.encoder
        return tensors_sha256(source.state_dict())


def new_visual_translator(
    encoder: EncoderConfig, video: VideoConfig, light_t: LightTConfig, tokenizer: Tokenizer
) -> VisualTranslator:
    """Makes the model of stage 1 before training, its backbone initialized as the settings say."""
    translator = _translator(encoder, video, light_t, tokenizer)
    with_backbone(translator.encoder, encoder.first_weights)
    return translator


def new_encoder(encoder: EncoderConfig, video: VideoConfig) -> VisualEncoder:
    """Makes a visual encoder with fresh weights."""
    return VisualEncoder(encoder.backbone, encoder.dim, encoder.kernel, video.mean, video.std)


def with_backbone(encoder: VisualEncoder, weights: str) -> VisualEncoder:
    """Loads the weights that `encoder.weights` names into the backbone; returns the encoder. Raises InputError."""
    load_backbone(encoder.backbone, encoder.kind, weights)
    return encoder


def _translator(
    encoder: EncoderConfig, video: VideoConfig, light_t: LightTConfig, tokenizer: Tokenizer
) -> VisualTranslator:
    visual = new_encoder(encoder, video)
    return VisualTranslator(visual, light_t_translator(encoder.dim, light_t, tokenizer))


def light_t_translator(dim: int, light_t: LightTConfig, tokenizer: Tokenizer) -> SignTranslator:
    """Makes an untrained Light-T that reads features of `dim` channels."""
    return SignTranslator(dim, new_light_t(light_t, tokenizer), tokenizer.start, prefixes=tokenizer.prefixes)


def new_light_t(light_t: LightTConfig, tokenizer: Tokenizer) -> PreTrainedModel:
    """Makes an untrained Light-T that writes the tokens of a tokenizer."""
    return make_light_t(light_t.size, len(tokenizer), tokenizer.pad, tokenizer.eos, light_t.dropout)


def save_visual(folder: Path, model: VisualTranslator, tokenizer: Tokenizer, record: Record) -> None:
    with replacing(folder) as temporary:
        temporary.mkdir()
        _save_weights(model.encoder, temporary / ENCODER_FILE)
        _save_weights(model.translator, temporary / LIGHT_T_FILE)
        tokenizer.save(temporary / "tokenizer")
        save_record(temporary, record)


def save_encoder(folder: Path, visual: VisualCheckpoint, level: str) -> None:
    """Saves what determines the features of a level, without files that `load_encoder_alone` does not need: the encoder
    and, for hidden, Light-T with its tokenizer."""
    folder.mkdir()
    _save_weights(visual.model.encoder, folder / ENCODER_FILE)
    needed = ["encoder", "video"]
    if level == "hidden":
        _save_weights(visual.model.translator, folder / LIGHT_T_FILE)
        visual.tokenizer.save(folder / "tokenizer")
        needed += ["light_t", "tokenizer"]
    made = visual.record
    settings = {name: made.settings[name] for name in needed}
    save_record(folder, Record(made.stage, settings, finished=True, finished_at=made.finished_at, tool=made.tool))


def load_encoder_alone(folder: Path, llm: SignTranslator, tokenizer: Tokenizer) -> VisualCheckpoint:
    """Loads an encoder that `save_encoder` saved, with the translator of its features in place of a Light-T that was
    not saved. Raises InputError if the folder has none, or it is damaged."""
    if (folder / LIGHT_T_FILE).is_file():
        return load_visual(folder)
    record = require_visual(folder)
    require_whole(folder)
    return VisualCheckpoint(VisualTranslator(read_encoder(folder, record), llm).eval(), tokenizer, record)


def read_encoder(folder: Path, record: Record) -> VisualEncoder:
    """Loads the visual encoder of a training with this record from its folder. Raises InputError if it is damaged."""
    encoder = new_encoder(
        EncoderConfig.model_validate(record.settings["encoder"]), VideoConfig.model_validate(record.settings["video"])
    )
    load_weights(encoder, folder / ENCODER_FILE)
    return encoder


def _save_weights(model: nn.Module, path: Path) -> None:
    """Saves weights for `load_weights`. A tied tensor, such as the word embedding, is saved under the first of its
    names; `save_model` would list the others in varying order, so that equal weights would differ in bytes."""
    kept: dict[int, str] = {}
    tensors = model.state_dict(keep_vars=True)
    for name in sorted(tensors):
        kept.setdefault(id(tensors[name]), name)
    save_file({name: tensors[name].detach().contiguous() for name in kept.values()}, path)


def require_visual(folder: Path) -> Record:
    """Returns the record of a finished stage 1. Raises InputError if the folder has none."""
    record = read_record(folder)
    if record is None or not record.finished:
        first = command("train-visual", run=folder.parents[1])
        raise InputError(f"{folder}: no finished visual encoder. Train first: {first}")
    return record


def load_parts(folder: Path, model: VisualTranslator, parts: Collection[str]) -> None:
    """Loads parts (backbone, temporal, light_t) of a saved stage 1 into a model that they fit. Raises InputError for
    damaged files."""
    encoder, own = read_tensors(folder / ENCODER_FILE), model.encoder.state_dict()
    model.encoder.load_state_dict({name: encoder[name] if name.split(".")[0] in parts else own[name] for name in own})
    if "light_t" in parts:
        load_weights(model.translator, folder / LIGHT_T_FILE)


def load_visual(folder: Path) -> VisualCheckpoint:
    """Loads a finished stage 1. Raises InputError if the folder has none, or it is damaged."""
    record = require_visual(folder)
    require_whole(folder)
    settings: dict[str, Any] = record.settings
    tokenizer = load_tokenizer(str(folder / "tokenizer"), settings["tokenizer"]["language"])
    model = _translator(
        EncoderConfig.model_validate(settings["encoder"]),
        VideoConfig.model_validate(settings["video"]),
        LightTConfig.model_validate(settings["light_t"]),
        tokenizer,
    )
    load_weights(model.encoder, folder / ENCODER_FILE)
    load_weights(model.translator, folder / LIGHT_T_FILE)
    return VisualCheckpoint(model.eval(), tokenizer, record)
