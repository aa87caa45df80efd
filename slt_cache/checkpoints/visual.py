"""Stage 1 on disk: encoder and Light-T as safetensors, tokenizer, record."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from slt_cache.advice import command
from slt_cache.checkpoints.record import Record, read_record, save_record
from slt_cache.config import EncoderConfig, LightTConfig, VideoConfig
from slt_cache.encoders.registry import Backbone
from slt_cache.encoders.visual_encoder import VisualEncoder
from slt_cache.errors import InputError
from slt_cache.files import replacing
from slt_cache.hashes import require_whole
from slt_cache.models.translators import SignTranslator, VisualTranslator, make_light_t
from slt_cache.models.weights import load_weights, some_of, tensors_sha256
from slt_cache.text.tokenizer import Tokenizer, load_tokenizer

ENCODER_FILE = "encoder.safetensors"
LIGHT_T_FILE = "light_t.safetensors"
COUNTER = "num_batches_tracked"
"""Last part of names that older files of torchvision do not have."""


@dataclass(frozen=True)
class VisualCheckpoint:
    """What stage 1 left, in evaluation mode."""

    model: VisualTranslator
    tokenizer: Tokenizer
    record: Record

    @property
    def video(self) -> VideoConfig:
        """How the encoder was shown its videos."""
        return VideoConfig.model_validate(self.record.settings["video"])

    def sha256(self, level: str) -> str:
        """Over all tensors that decide the features of a level."""
        source = self.model if level == "hidden" else self.model.encoder
        return tensors_sha256(source.state_dict())


def new_visual_translator(
    encoder: EncoderConfig, video: VideoConfig, light_t: LightTConfig, tokenizer: Tokenizer
) -> VisualTranslator:
    """Stage 1 before training, its backbone with the weights that the settings name."""
    translator = _translator(encoder, video, light_t, tokenizer)
    with_backbone(translator.encoder, encoder.weights)
    return translator


def new_encoder(encoder: EncoderConfig, video: VideoConfig) -> VisualEncoder:
    """The visual encoder with fresh weights."""
    return VisualEncoder(encoder.backbone, encoder.dim, encoder.kernel, video.mean, video.std)


def with_backbone(encoder: VisualEncoder, weights: str) -> VisualEncoder:
    """The same encoder, its backbone with the weights that `encoder.weights` names. Raises InputError."""
    tensors = backbone_weights(encoder.kind, weights)
    if tensors is not None:
        _load_backbone(encoder, tensors, weights)
    return encoder


def _translator(
    encoder: EncoderConfig, video: VideoConfig, light_t: LightTConfig, tokenizer: Tokenizer
) -> VisualTranslator:
    visual = new_encoder(encoder, video)
    seq2seq = make_light_t(light_t.size, len(tokenizer), tokenizer.pad, tokenizer.eos, light_t.dropout, tokenizer.start)
    return VisualTranslator(visual, SignTranslator(encoder.dim, seq2seq, tokenizer.start))


def backbone_weights(kind: Backbone, name: str) -> Mapping[str, torch.Tensor] | None:
    """Returns what `encoder.weights` names: `imagenet` from torchvision (downloaded once), `none`, or a file of
    tensors. Raises InputError."""
    if name == "none":
        return None
    if name == "imagenet":
        return _imagenet_weights(kind)
    path = Path(name)
    if not path.is_file():
        raise InputError(f"encoder.weights {name}: no such file. Use imagenet, none, or the path of a state dict.")
    try:
        weights: Any = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except Exception as error:  # each format, and each way of being broken, raises its own
        raise InputError(f"encoder.weights {name}: not a readable file of tensors. Name another file.") from error
    if not isinstance(weights, Mapping) or not all(isinstance(one, torch.Tensor) for one in weights.values()):
        raise InputError(f"encoder.weights {name}: not a state dict of tensors alone. Name another file.")
    return weights


def _imagenet_weights(kind: Backbone) -> Mapping[str, torch.Tensor]:
    try:
        weights: Mapping[str, torch.Tensor] = kind.imagenet.get_state_dict(progress=False)
        return weights
    except OSError as error:
        raise InputError(
            f"encoder.weights imagenet: could not be downloaded ({error}). Download {kind.imagenet.url} elsewhere and "
            "set encoder.weights to its path, or encoder.weights=none to train from scratch."
        ) from error


def _load_backbone(encoder: VisualEncoder, weights: Mapping[str, torch.Tensor], name: str) -> None:
    """Takes a state dict of the backbone, without its classifier. Raises InputError for anything else."""
    if any(str(key).startswith("temporal.") for key in weights):
        raise InputError(
            f"encoder.weights {name}: an encoder that stage 1 has trained. Only its backbone would be taken; its "
            "temporal module would be dropped without a word. Training cannot start from it yet; stage 2 uses it if it "
            "is given the run that it belongs to (--run)."
        )
    body = {str(key).removeprefix("backbone."): value for key, value in weights.items()}
    body = {key: value for key, value in body.items() if not key.startswith(f"{encoder.kind.classifier}.")}
    own = encoder.backbone.state_dict()
    other = [key for key, value in body.items() if key in own and _kind(value) != _kind(own[key])]
    alone = sorted(name for name in body.keys() ^ own.keys() if not name.endswith(COUNTER))
    wrong = [*other, *alone]
    if wrong:
        raise InputError(
            f"encoder.weights {name}: not the weights of encoder.backbone {encoder.kind.name} ({some_of(wrong)}). "
            "Name another file, or the backbone that it belongs to."
        )
    encoder.backbone.load_state_dict(body)


def _kind(tensor: torch.Tensor) -> tuple[torch.Size, bool]:
    """Shape, and whether it holds fractions, in whatever precision."""
    return tensor.shape, tensor.is_floating_point()


def save_visual(folder: Path, model: VisualTranslator, tokenizer: Tokenizer, record: Record) -> None:
    with replacing(folder) as temporary:
        temporary.mkdir()
        _save_weights(model.encoder, temporary / ENCODER_FILE)
        _save_weights(model.translator, temporary / LIGHT_T_FILE)
        tokenizer.save(temporary / "tokenizer")
        save_record(temporary, record)


def _save_weights(model: nn.Module, path: Path) -> None:
    """As `load_weights` reads them. A tensor that has several names, the word embedding, is kept under the
    first of them; `save_model` would note the others in an order that changes from run to run, and equal weights would
    have other bytes."""
    kept: dict[int, str] = {}
    tensors = model.state_dict(keep_vars=True)
    for name in sorted(tensors):
        kept.setdefault(id(tensors[name]), name)
    save_file({name: tensors[name].detach().contiguous() for name in kept.values()}, path)


def require_visual(folder: Path) -> Record:
    """The record of a finished stage 1. Raises InputError where none lies in the folder."""
    record = read_record(folder)
    if record is None or not record.finished:
        first = command("train-visual", run=folder.parents[1])
        raise InputError(f"{folder}: no finished visual encoder here. Train it first: {first}")
    return record


def load_visual(folder: Path) -> VisualCheckpoint:
    """Raises InputError where no finished stage 1 lies in the folder, and where it is damaged."""
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
