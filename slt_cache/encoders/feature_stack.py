"""Backbones of torchvision that consist of stacked `features` and pooling: MobileNetV3, EfficientNet."""

from typing import Any

from torch import nn


def blocks(network: Any) -> list[nn.Module]:
    """Returns each layer of the stack, and the pooling."""
    return [*network.features, nn.Sequential(network.avgpool, nn.Flatten(1), network.classifier)]
