"""Networks of torchvision that are a stack of `features` and a pooling: MobileNetV3, EfficientNet."""

from typing import Any

from torch import nn


def blocks(network: Any) -> list[nn.Module]:
    """Returns each layer of the stack, and the pooling."""
    return [*network.features, nn.Sequential(network.avgpool, nn.Flatten(1), network.classifier)]
