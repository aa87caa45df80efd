"""Backbones of the visual encoder, by name: `encoder.backbone`.

To add one of torchvision's, add a row; if its modules are arranged in a new way, add a file with a function that lists
them in order, as in resnet.py."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn
from torchvision.models import get_model, get_model_weights

from slt_cache.encoders import feature_stack, resnet
from slt_cache.errors import InputError


@dataclass(frozen=True)
class Backbone:
    """Convolutional network whose pooled output is the feature of a frame: [n, 3, S, S] -> [n, dim]."""

    name: str
    """Name in torchvision and in `encoder.backbone`."""
    dim: int
    """Channels of the pooled output."""
    blocks: Callable[[nn.Module], list[nn.Module]]
    """Function that returns the network as a sequence of modules. Activation checkpointing stores the input of each;
    the last one pools."""
    classifier: str = "fc"
    """Name of the module after the pooled output, which is removed."""

    def build(self) -> nn.Module:
        """Returns the network with random weights, without its classifier."""
        network: nn.Module = get_model(self.name, weights=None)
        setattr(network, self.classifier, nn.Identity())
        return network

    @property
    def imagenet(self) -> Any:
        """Weights trained on ImageNet, a `WeightsEnum`, which torchvision downloads once."""
        return get_model_weights(self.name)["IMAGENET1K_V1"]


BACKBONES = {
    row.name: row
    for row in (
        Backbone("resnet18", 512, resnet.blocks),  # (Chen et al. 2024, 4.3)
        Backbone("resnet34", 512, resnet.blocks),
        Backbone("resnet50", 2048, resnet.blocks),
        Backbone("mobilenet_v3_large", 960, feature_stack.blocks, classifier="classifier"),
        Backbone("efficientnet_b0", 1280, feature_stack.blocks, classifier="classifier"),
    )
}


def find_backbone(name: str) -> Backbone:
    """Returns the backbone of a name. Raises InputError for an unknown one, listing those that exist."""
    if name not in BACKBONES:
        raise InputError(f"encoder.backbone {name}: unknown. Choose one of {', '.join(BACKBONES)}.")
    return BACKBONES[name]
