"""The visual encoder when nothing is learned."""

from typing import Any

import numpy as np
import pytest
import torch

from slt_cache.encoders.frozen import FrozenEncoder, fused
from slt_cache.encoders.registry import BACKBONES, find_backbone
from slt_cache.encoders.visual_encoder import VisualEncoder
from slt_cache.errors import InputError

DIM = 8
SIZE = 32
"""Pixels"""


def trained(module: torch.nn.Module) -> torch.nn.Module:
    """Gives batch norms other values than those of an untrained network."""
    for norm in module.modules():
        if isinstance(norm, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
            torch.nn.init.normal_(norm.bias, std=0.2)
            torch.nn.init.normal_(norm.running_mean, std=0.2)  # type: ignore[arg-type]
            torch.nn.init.uniform_(norm.running_var, 0.5, 1.5)  # type: ignore[arg-type]
    return module


@pytest.fixture
def encoder() -> VisualEncoder:
    encoder = VisualEncoder("resnet18", DIM, 3, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    trained(encoder)
    return encoder.eval()


def frozen(encoder: VisualEncoder, **options: Any) -> FrozenEncoder:
    return FrozenEncoder(encoder, **{"level": "sign", "dtype": "float32", "device": torch.device("cpu"), **options})


def frames_of(length: int) -> torch.Tensor:
    return torch.randint(0, 256, (length, 3, SIZE, SIZE), dtype=torch.uint8)


def assert_close(found: torch.Tensor, expected: torch.Tensor, error: float = 1e-5) -> None:
    """Relative to the largest feature: a fused convolution adds up in another order."""
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) <= error * float(expected.abs().max())


@pytest.mark.parametrize("name", BACKBONES)
@torch.no_grad()
def test_a_fused_backbone_computes_the_same_without_a_batch_norm(name: str) -> None:
    backbone, images = trained(find_backbone(name).build()).eval(), torch.randn(6, 3, SIZE, SIZE)
    plain = fused(backbone)
    assert_close(plain(images), backbone(images), 1e-4)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in plain.modules())
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in backbone.modules())


@torch.no_grad()
def test_frame_features_equal_those_of_the_model(encoder: VisualEncoder) -> None:
    frames = frames_of(6)
    found = frozen(encoder).frame_features(frames)
    assert found.dtype == torch.float32
    assert_close(found, encoder.frame_features(frames))


@torch.no_grad()
def test_a_call_gives_the_features_of_the_clip(encoder: VisualEncoder) -> None:
    frames = frames_of(7)
    expected = encoder(frames, torch.tensor([7]))
    assert_close(frozen(encoder)(frames), expected)
    assert_close(frozen(encoder, batch_frames=3)(frames.numpy()), expected)
    assert_close(frozen(encoder, level="frame")(frames), encoder.frame_features(frames))


@torch.no_grad()
def test_black_features_are_those_of_black_frames_whatever_the_length(encoder: VisualEncoder) -> None:
    found = frozen(encoder).black_features({1, 5, 2}, SIZE)
    assert set(found) == {1, 2, 5}
    for steps, features in found.items():
        assert_close(features, frozen(encoder)(torch.zeros(steps, 3, SIZE, SIZE, dtype=torch.uint8)))
        assert float(features.abs().max()) > 0


@pytest.mark.parametrize(
    "frames",
    [
        torch.zeros(2, 3, SIZE, SIZE),
        torch.zeros(3, SIZE, SIZE, dtype=torch.uint8),
        torch.zeros(2, SIZE, SIZE, 3, dtype=torch.uint8),
        torch.zeros(0, 3, SIZE, SIZE, dtype=torch.uint8),
        torch.zeros(2, 3, SIZE, 2 * SIZE, dtype=torch.uint8),
        np.zeros((2, 3, SIZE, SIZE)),
    ],
)
def test_frames_of_another_type_or_shape_are_refused(encoder: VisualEncoder, frames: Any) -> None:
    with pytest.raises(InputError, match=r"expected torch\.uint8 \[T', 3, S, S\]"):
        frozen(encoder)(frames)


def test_frames_of_another_size_than_in_training_are_refused(encoder: VisualEncoder) -> None:
    with pytest.raises(InputError, match="64, 64"):
        frozen(encoder, size=64)(frames_of(2))


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_features_are_rounded_last(encoder: VisualEncoder, dtype: str) -> None:
    frames = frames_of(5)
    assert torch.equal(frozen(encoder, dtype=dtype)(frames), frozen(encoder)(frames).to(getattr(torch, dtype)))


def test_a_coarser_precision_is_near(encoder: VisualEncoder) -> None:
    frames = frames_of(5)
    exact, coarse = frozen(encoder)(frames), frozen(encoder, precision="bf16")(frames)
    assert_close(coarse, exact, 0.1)
    assert not torch.equal(coarse, exact)


@pytest.mark.parametrize(("size", "frames"), [(224, 8), (32, 392), (4000, 1)])
def test_as_many_frames_go_through_at_once_as_suit_a_cpu(encoder: VisualEncoder, size: int, frames: int) -> None:
    assert frozen(encoder).frames_at_once(size) == frames
    assert frozen(encoder, batch_frames=7).frames_at_once(size) == 7
