"""Networks of torchvision as they come: weights, sizes, and what is refused."""

from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from torchvision.models import resnet18, shufflenet_v2_x0_5

from slt_cache.config import EncoderConfig, VideoConfig
from slt_cache.encoders.base import NetworkEncoder, UnreachableWeights
from slt_cache.encoders.registry import open_encoder
from slt_cache.encoders.torchvision_models import backbone_named
from slt_cache.errors import InputError

VIDEO = VideoConfig(resize=36, size=32)


def opened(name: str, **settings: Any) -> NetworkEncoder:
    found = open_encoder(EncoderConfig(name=name, **{"weights": "none", **settings}), VIDEO)
    assert isinstance(found, NetworkEncoder)
    return found


@torch.no_grad()
def test_a_state_dict_with_its_classifier_is_that_network_without_it(tmp_path: Path) -> None:
    network, images = resnet18().eval(), torch.randn(2, 3, 32, 32)
    torch.save(network.state_dict(), tmp_path / "mine.pth")
    found = opened("resnet18", weights=str(tmp_path / "mine.pth"))
    torch.testing.assert_close(network.fc(found.backbone(images)), network(images))
    assert (found.dim, found.video) == (512, VIDEO)


@torch.no_grad()
def test_any_classifier_of_torchvision_gives_what_its_last_layer_reads(tmp_path: Path) -> None:
    network, images = shufflenet_v2_x0_5().eval(), torch.randn(2, 3, 32, 32)
    torch.save(network.state_dict(), tmp_path / "mine.pth")
    found = opened("torchvision:shufflenet_v2_x0_5", weights=str(tmp_path / "mine.pth"))
    assert found.dim == 1024
    torch.testing.assert_close(network.fc(found.backbone(images)), network(images))


@pytest.mark.parametrize(
    ("name", "dim", "last"),
    [("vit_b_16", 768, "heads.head"), ("convnext_tiny", 768, "classifier.2"), ("vgg11", 4096, "classifier.6")],
)
def test_the_last_linear_layer_is_found_wherever_it_is(name: str, dim: int, last: str) -> None:
    found = backbone_named(name)
    assert (found.dim, found.classifier) == (dim, last)


def test_a_name_of_torchvision_is_the_backbone_of_that_name() -> None:
    short, long = opened("resnet18"), opened("torchvision:resnet18")
    assert (short.name, short.sha256) == (long.name, long.sha256)


def test_random_weights_are_always_the_same_and_disturb_no_other_random_numbers() -> None:
    torch.manual_seed(5)
    first = opened("resnet18")
    drawn = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(1))
    assert opened("resnet18").sha256 == first.sha256


def test_weights_that_cannot_be_downloaded_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*args: Any, **options: Any) -> Any:
        raise URLError("no network")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", unreachable)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", unreachable)
    with pytest.raises(UnreachableWeights, match=r"(?s)no network.*resnet18-\w+\.pth.*encoder\.weights to its path"):
        opened("resnet18", weights="imagenet")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnet19", "encoder.name resnet19: unknown. Choose one of resnet18, resnet34, .*torchvision:NAME"),
        ("torchvision", "encoder.name torchvision: unknown"),
        ("torchvision:", "encoder.name torchvision:: unknown"),
        ("resnet18:x", "encoder.name resnet18:x: unknown"),
        ("torchvision:resnet19", "no image classifier of torchvision. Choose one of alexnet, "),
        ("torchvision:r3d_18", "no image classifier of torchvision"),
        ("torchvision:squeezenet1_0", "has no linear layer"),
    ],
)
def test_an_unknown_encoder_lists_those_that_exist(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        opened(name)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save(shufflenet_v2_x0_5().state_dict(), tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"not the weights of encoder\.name resnet18"):
        opened("resnet18", weights=str(tmp_path / "other.pth"))


def test_two_scales_are_read_at_twice_the_size_and_recorded() -> None:
    found = opened("resnet18", scales=(1, 2))
    assert (found.dim, found.video.size, found.video.resize) == (1024, 64, 72)
    assert found.options == {"scales": [1, 2]}
    assert found.sha256 == opened("resnet18").sha256  # of the weights; the options are in the spec
