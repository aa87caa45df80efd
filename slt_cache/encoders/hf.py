"""Vision models of transformers as they come, frozen: `hf:NAME` from the hub, or `hf:FOLDER`.

Image models read single frames (CLIP's and SigLIP's vision towers, DINOv2, ViT, Hiera, ResNet, ConvNeXt), video models
windows of frames (VideoMAE, TimeSformer, ViViT, V-JEPA 2). Normalization and size are those of their image processor;
frames are resized and cropped as `video` says."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers.utils.hub import cached_file
from transformers.utils.logging import disable_progress_bar

from slt_cache.config import EncoderConfig, VideoConfig, expanded
from slt_cache.encoders.base import NamedEncoder, NetworkEncoder, UnreachableWeights
from slt_cache.encoders.scales import at_scales
from slt_cache.encoders.weights import some_of, tensors_sha256
from slt_cache.errors import InputError
from slt_cache.progress import log
from slt_cache.reading import first_line, read_object
from slt_cache.text.pretrained import loading, require_plain

disable_progress_bar()  # its bar would break our own
SETTING = "encoder.name hf:"
"""Setting that names such an encoder, as messages begin."""
PROCESSORS = ("preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json")
"""Files with the settings of an image or video processor; in the last one they are nested."""
PREFIX = ("cls_token", "class_embedding", "distillation_token", "register_tokens")
"""Ends of the names of parameters that stand before the patches; the first two are class tokens."""
VOLATILE = ("_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version")
"""Keys of a config that determine no features."""


class VisionModel(nn.Module):
    """Vision model with one feature per frame or window: [n, 3, S, S] or [n, window, 3, S, S] to [n, C]."""

    def __init__(self, model: Any, output: str):
        super().__init__()
        self.model, self.output = model, output
        self.before = sum(one.shape[1] if name.endswith(PREFIX[3]) else 1 for name, one in _prefix(model))
        """Number of tokens before the patches."""

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return self.features(_outputs(self.model, frames))

    def features(self, found: Any) -> torch.Tensor:
        """Returns the features [n, C] among the model's outputs."""
        pooled: torch.Tensor | None = found.get("pooler_output")
        if self.output == "pooled" and pooled is not None:
            return pooled.flatten(1)
        hidden: torch.Tensor = found.last_hidden_state
        if hidden.ndim == 4:  # maps [n, C, h, w] of a convolutional network
            return hidden.mean((-1, -2))
        return hidden[:, 0] if self.output == "class" else hidden[:, self.before :].mean(1)


def _outputs(model: Any, frames: torch.Tensor) -> Any:
    return model(**{model.main_input_name: frames}, **_ENCODER_ALONE.get(type(model).__name__, {}))


_ENCODER_ALONE = {"VJEPA2Model": {"skip_predictor": True}}
"""Arguments with which a model does not compute what its features do not need."""


def load(which: str, config: EncoderConfig, video: VideoConfig) -> NamedEncoder:
    """Returns the encoder in a folder, or of a name on the hub. Raises InputError if it is no vision model, lacks
    weights, or has no such output as the settings ask for; UnreachableWeights if it is not at hand."""
    which = expanded(which)
    try:
        with loading(which, SETTING):
            model, missing = _load(which)
            processor = _processor(which)
    except InputError as error:
        if Path(which).exists():
            raise
        raise UnreachableWeights(str(error)) from error
    _require_weights(which, model, missing)
    read = _video(which, model, processor, video)
    window = getattr(model.config, "num_frames", None) or getattr(model.config, "frames_per_clip", None) or 1
    found = _tried(which, model, (window, 3) if window > 1 else (3,), read.size)
    network = VisionModel(model, _output(which, model, found, config))
    dim = network.features(found).shape[-1]
    backbone, dim, read, options = at_scales(network, dim, read, config)
    return NetworkEncoder(
        f"hf:{Path(which).resolve().name if Path(which).is_dir() else which}",
        dim,
        _sha256(model),
        _licence(which),
        read,
        window=window,
        stride=config.stride or max(1, window // 2),
        options={"output": network.output, **options},
        backbone=backbone,
    )


def _load(which: str) -> tuple[Any, list[str]]:
    """Loads the vision model, the tower of one for texts and images. Returns it with the names of weights that the
    files lack, which transformers makes up."""
    config = transformers.AutoConfig.from_pretrained(which, trust_remote_code=False)
    require_plain(which, config.to_dict(), SETTING)
    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()  # missing weights are refused below
    try:
        model, info = transformers.AutoModel.from_pretrained(
            which, dtype=torch.float32, trust_remote_code=False, weights_only=True, output_loading_info=True
        )
    finally:
        transformers.logging.set_verbosity(level)
    tower = getattr(model, "vision_model", model)
    of_tower = "vision_model." if tower is not model else ""
    missing = [name.removeprefix(of_tower) for name in info["missing_keys"] if name.startswith(of_tower)]
    if not str(getattr(tower, "main_input_name", "")).startswith("pixel_values"):
        raise InputError(f"{SETTING}{which}: {type(model).__name__} reads no frames. Use a vision model.")
    return tower.eval(), sorted(missing)


def _require_weights(which: str, model: Any, missing: list[str]) -> None:
    """Raises InputError if the files lack weights. A pooling layer that they lack is removed."""
    lacking = [name for name in missing if not name.startswith("pooler.")]
    if lacking:
        raise InputError(f"{SETTING}{which}: its files lack weights ({some_of(lacking)}). Get all of its files again.")
    if missing:
        model.pooler = None


def _output(which: str, model: Any, found: Any, config: EncoderConfig) -> str:
    """Returns the output that is the feature, among those `found`. Raises InputError if there is no such output."""
    outputs = {
        "pooled": found.get("pooler_output") is not None,
        "class": any(name.endswith(PREFIX[:2]) for name, _ in _prefix(model)),
        "patches": True,
    }
    there = [name for name, is_there in outputs.items() if is_there]
    if config.output is None:
        return "pooled" if "pooled" in there else "patches"
    if config.output not in there:
        raise InputError(f"encoder.output {config.output}: {which} has no such output. Use {' or '.join(there)}.")
    return config.output


def _prefix(model: nn.Module) -> list[tuple[str, torch.Tensor]]:
    return [(name, one) for name, one in model.named_parameters() if name.endswith(PREFIX)]


def _processor(which: str) -> Mapping[str, Any]:
    """Returns the settings of the model's image processor; none, if it comes without one."""
    for file in PROCESSORS:
        path = cached_file(which, file, _raise_exceptions_for_missing_entries=False)
        if path is not None:
            found = read_object(Path(path))
            nested = found.get("image_processor") or found.get("video_processor")
            return nested if isinstance(nested, Mapping) else found
    log(f"{SETTING}{which}: no {PROCESSORS[0]}; frames are normalized with video.mean and video.std")
    return {}


def _video(which: str, model: Any, processor: Mapping[str, Any], video: VideoConfig) -> VideoConfig:
    """Returns how frames are read: in the size that the processor or the model names, normalized as the processor does
    it, (x * factor - offset - mean) / std of pixels x."""
    crop = processor.get("crop_size") if processor.get("do_center_crop", True) else None
    sides = (
        crop,
        processor.get("size"),
        getattr(model.config, "image_size", None),
        getattr(model.config, "crop_size", None),
    )
    size = next((side for side in map(_side, sides) if side is not None), video.size)
    if not processor:
        return video.of_size(size)
    scale = 255 * processor.get("rescale_factor", 1 / 255)
    offset = 1.0 if processor.get("offset") else 0.0
    normalizes = processor.get("do_normalize", True)
    mean = processor.get("image_mean", video.mean) if normalizes else (0.0,) * 3
    std = processor.get("image_std", video.std) if normalizes else (1.0,) * 3
    if not (len(mean) == len(std) == 3 and all(one > 0 for one in std) and scale > 0):
        raise InputError(f"{SETTING}{which}: its image processor does not normalize three colours. Use another model.")
    normalization = {
        "mean": tuple(round((one + offset) / scale, 9) for one in mean),
        "std": tuple(round(one / scale, 9) for one in std),
    }
    return video.of_size(size).model_copy(update=normalization)


def _side(size: Any) -> int | None:
    """Returns the side of a square of pixels, as processors and configs write it; None if there is none."""
    if isinstance(size, Mapping):
        size = size.get("height") or size.get("shortest_edge")
    if isinstance(size, list | tuple):
        size = size[0] if size else None
    return size if isinstance(size, int) and size > 0 else None


@torch.inference_mode()
def _tried(which: str, model: Any, shape: tuple[int, ...], size: int) -> Any:
    """Returns the outputs for one frame or window. Raises InputError for a model that cannot read it, or whose features
    are random, such as those of a masked autoencoder that still masks."""
    frames = torch.rand(1, *shape, size, size, generator=torch.Generator().manual_seed(0))
    try:
        first, again = _outputs(model, frames), _outputs(model, frames)
    except Exception as error:  # each class raises its own
        raise InputError(
            f"{SETTING}{which}: cannot read frames of {size} pixels ({first_line(error)}). Use a model of images or "
            "of video."
        ) from error
    if not torch.equal(first.last_hidden_state, again.last_hidden_state):
        raise InputError(f"{SETTING}{which}: gives other features of the same frames each time. Use another model.")
    return first


def _sha256(model: Any) -> str:
    """Returns the SHA-256 over class, config and weights."""
    config = {name: value for name, value in model.config.to_diff_dict().items() if name not in VOLATILE}
    text = json.dumps([type(model).__name__, config], sort_keys=True, default=str)
    return hashlib.sha256(f"{text}\n{tensors_sha256(model.state_dict())}".encode()).hexdigest()


def _licence(which: str) -> str:
    """Returns the licence that the model card names, if it came with the files."""
    card = cached_file(which, "README.md", _raise_exceptions_for_missing_entries=False)
    lines = [] if card is None else Path(card).read_text(encoding="utf-8", errors="replace").splitlines()[:60]
    found = next((line.partition(":")[2].strip() for line in lines if line.startswith("license:")), "")
    name = Path(which).resolve().name if Path(which).is_dir() else which
    return found or f"not stated in its files; see the model card of {name}"
