"""Residual networks of torchvision as backbones: a stem, four layers of residual blocks, pooling."""

from typing import Any

from torch import nn


def blocks(network: Any) -> list[nn.Module]:
    """Returns the stem, each residual block, and the pooling."""
    stem = nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool)
    layers = (network.layer1, network.layer2, network.layer3, network.layer4)
    pooling = nn.Sequential(network.avgpool, nn.Flatten(1), network.fc)
    return [stem, *(block for layer in layers for block in layer), pooling]
