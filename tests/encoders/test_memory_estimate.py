"""What a training step of the visual encoder takes of memory."""

from typing import Any

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from slt_cache.encoders.memory_estimate import FrameBytes, frame_bytes, step_bytes
from slt_cache.encoders.registry import BACKBONES
from slt_cache.encoders.visual_encoder import VisualEncoder

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize(
    ("backbone", "size"), [("resnet18", 32), ("resnet18", 36), *((name, 64) for name in BACKBONES)]
)
def test_the_estimate_is_what_autograd_saves(backbone: str, size: int, half: bool, checkpointing: bool) -> None:
    encoder, count = VisualEncoder(backbone, 16, 3, MEAN, STD).train(), 4
    encoder.checkpointing = checkpointing
    storages: dict[int, Any] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.dim() and len(tensor) == count:  # of frames, not of channels
            storages[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    frames = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8)
    with saved_tensors_hooks(keep, lambda tensor: tensor), torch.autocast("cpu", torch.bfloat16, enabled=half):
        features = encoder.frame_features(frames)
    storages.setdefault(frames.untyped_storage().data_ptr(), frames)
    assert features.requires_grad
    saved = sum(tensor.untyped_storage().nbytes() for tensor in storages.values())
    error = 0.0 if "resnet" in backbone else 1e-3
    assert saved == pytest.approx(count * frame_bytes(backbone, size, half, checkpointing).kept, rel=error)


def test_eight_clips_of_300_frames_fit_six_gigabytes() -> None:
    """A quarter of the frames is kept: 600 of 224 pixels."""
    parameters = 40_000_000
    assert round(frame_bytes("resnet18", 224).kept / 1e6, 1) == 22.3
    assert 13e9 < step_bytes("resnet18", 600, 224, parameters) < 15e9
    assert 6e9 < step_bytes("resnet18", 600, 224, parameters, half=True) < 8.5e9
    assert step_bytes("resnet18", 600, 224, parameters, half=True, checkpointing=True) < 6e9
    assert step_bytes("resnet18", 600, 224, parameters, chunk_frames=64) < 6e9
    assert step_bytes("resnet18", 2400, 224, parameters, chunk_frames=64) < 6e9


@pytest.mark.parametrize(
    ("half", "checkpointing", "kept", "peak"),
    [
        (False, False, 22_328_320, 22_529_024),
        (True, False, 12_042_240, 12_142_592),
        (False, True, 3_863_552, 15_203_328),
        (True, True, 2_007_040, 8_479_744),
    ],
)
def test_a_resnet_18_keeps_what_its_shapes_say(half: bool, checkpointing: bool, kept: int, peak: int) -> None:
    assert frame_bytes("resnet18", 224, half, checkpointing) == FrameBytes(kept, peak)


def test_a_larger_backbone_needs_more() -> None:
    kept = [frame_bytes(name, 224).kept for name in ("resnet18", "resnet34", "resnet50")]
    assert kept == sorted(set(kept))


def test_an_estimate_draws_no_random_number() -> None:
    before = torch.get_rng_state()
    frame_bytes.cache_clear()
    frame_bytes("efficientnet_b0", 32)
    assert torch.equal(torch.get_rng_state(), before)
