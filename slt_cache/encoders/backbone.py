"""Convolutional networks of torchvision, or others of its image classifiers, without their classifier."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn
from torchvision.models import get_model, get_model_weights


@dataclass(frozen=True)
class Backbone:
    """Network whose pooled output is the feature of a frame: [n, 3, S, S] -> [n, dim]."""

    name: str
    """Name in torchvision and in `encoder.backbone`."""
    dim: int
    """Channels of the pooled output."""
    blocks: Callable[[nn.Module], list[nn.Module]]
    """Function that returns the network as a sequence of modules. Activation checkpointing stores the input of each;
    the last one pools."""
    classifier: str = "fc"
    """Name of the module after the pooled output, which is removed."""
    licence: str = "torchvision (BSD-3-Clause)"
    """Where its code comes from, and under which licence."""

    def require_installed(self) -> None:
        """Raises UnreachableWeights without the packages that it needs."""

    def build(self) -> nn.Module:
        """Returns the network with random weights, without its classifier."""
        network: nn.Module = get_model(self.name, weights=None)
        network.set_submodule(self.classifier, nn.Identity())
        return network

    @property
    def imagenet(self) -> Any:
        """Weights trained on ImageNet, a `WeightsEnum`, which torchvision downloads once."""
        weights = get_model_weights(self.name)
        return weights["IMAGENET1K_V1"] if "IMAGENET1K_V1" in weights.__members__ else weights["DEFAULT"]
