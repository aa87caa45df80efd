"""Backbones by name: each is whole with its row alone."""

import pytest
import torch

from slt_cache.encoders.registry import BACKBONES, find_backbone
from slt_cache.encoders.visual_encoder import VisualEncoder
from slt_cache.errors import InputError


@pytest.mark.parametrize("name", BACKBONES)
@torch.no_grad()
def test_a_backbone_gives_each_frame_as_many_channels_as_its_row_says(name: str) -> None:
    kind = find_backbone(name)
    assert kind.build().eval()(torch.randn(2, 3, 32, 32)).shape == (2, kind.dim)


@pytest.mark.parametrize("name", BACKBONES)
@torch.no_grad()
def test_the_blocks_of_a_backbone_are_the_backbone(name: str) -> None:
    kind = find_backbone(name)
    network, images = kind.build().eval(), torch.randn(2, 3, 32, 32)
    assert torch.equal(torch.nn.Sequential(*kind.blocks(network))(images), network(images))


@pytest.mark.parametrize("name", BACKBONES)
def test_imagenet_weights_are_those_of_the_backbone(name: str) -> None:
    weights = find_backbone(name).imagenet
    assert weights.url.rpartition("/")[2].startswith(name)
    assert weights.meta["num_params"] > 1_000_000


def test_an_unknown_backbone_lists_those_that_exist() -> None:
    with pytest.raises(InputError) as error:
        VisualEncoder("resnet19", 16, 3, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    assert "encoder.backbone resnet19" in str(error.value)
    assert all(name in str(error.value) for name in BACKBONES)


def test_a_second_resnet_needs_one_row() -> None:
    first, second = find_backbone("resnet18"), find_backbone("resnet34")
    assert (first.dim, first.blocks) == (second.dim, second.blocks)
    assert (len(first.blocks(first.build())), len(second.blocks(second.build()))) == (10, 18)
