"""The backbone in less memory: block by block, and in chunks."""

from copy import deepcopy

import pytest
import torch

from slt_cache.encoders.checkpointing import in_chunks
from slt_cache.encoders.registry import BACKBONES
from slt_cache.encoders.visual_encoder import VisualEncoder

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LENGTHS = torch.tensor([5, 7, 4])


@pytest.fixture
def encoder() -> VisualEncoder:
    return VisualEncoder("resnet18", 16, 3, MEAN, STD).train()


def frames_of(count: int) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8)


def step(encoder: VisualEncoder, frames: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Returns the features, and all that an update leaves: gradients and running statistics."""
    torch.manual_seed(1)  # some backbones drop blocks in training
    encoder.zero_grad()
    features = encoder(frames, LENGTHS)
    (features * torch.linspace(-1, 1, features.numel()).view_as(features)).sum().backward()
    gradients = {name: weight.grad.clone() for name, weight in encoder.named_parameters() if weight.grad is not None}
    return features.detach(), {**gradients, **{name: value.clone() for name, value in encoder.named_buffers()}}


@pytest.mark.parametrize("backbone", BACKBONES)
def test_checkpointing_gives_the_same_features_gradients_and_statistics(backbone: str) -> None:
    encoder = VisualEncoder(backbone, 16, 3, MEAN, STD).train()
    spare = deepcopy(encoder)
    spare.checkpointing = True
    for _ in range(2):
        frames = frames_of(16)
        features, left = step(encoder, frames)
        again, left_again = step(spare, frames)
        assert torch.equal(features, again)
        assert left.keys() == left_again.keys()
        assert all(torch.equal(left[name], left_again[name]) for name in left)
    counted = {int(value) for name, value in left_again.items() if name.endswith("num_batches_tracked")}
    assert counted == {2}


def test_one_chunk_is_the_whole_and_several_have_statistics_of_their_own(encoder: VisualEncoder) -> None:
    frames = frames_of(16)
    whole, parts = deepcopy(encoder), deepcopy(encoder)
    whole.chunk_frames, parts.chunk_frames = 16, 8
    features, left = step(encoder, frames)
    again, left_again = step(whole, frames)
    assert torch.equal(features, again)
    assert all(torch.equal(left[name], left_again[name]) for name in left)
    other, left_other = step(parts, frames)
    assert not torch.allclose(features, other, atol=1e-3)
    assert int(left_other["backbone.bn1.num_batches_tracked"]) == 2


def test_chunks_give_the_gradients_of_plain_passes_one_after_another(encoder: VisualEncoder) -> None:
    frames = frames_of(16)
    plain, chunked = deepcopy(encoder), deepcopy(encoder)
    torch.cat([plain.frame_features(chunk) for chunk in frames.split(8)]).pow(2).sum().backward()
    chunked.chunk_frames = 8
    chunked.frame_features(frames).pow(2).sum().backward()
    weights = zip(plain.backbone.parameters(), chunked.backbone.parameters(), strict=True)
    assert all(one.grad is not None and torch.equal(one.grad, other.grad) for one, other in weights)  # type: ignore[arg-type]
    buffers = zip(plain.backbone.buffers(), chunked.backbone.buffers(), strict=True)
    assert all(torch.equal(one, other) for one, other in buffers)


@pytest.mark.parametrize("frames", [8, 9, 16, 17, 25, 63])
def test_no_chunk_is_too_large_or_too_small_for_statistics(frames: int) -> None:
    sizes: list[int] = []

    def whole(chunk: torch.Tensor) -> torch.Tensor:
        sizes.append(len(chunk))
        return chunk

    assert in_chunks(whole, torch.nn.Identity(), torch.arange(frames), 8).tolist() == list(range(frames))
    assert sum(sizes) == frames
    assert 4 <= min(sizes) <= max(sizes) <= 8


def test_a_frozen_backbone_keeps_its_statistics_and_sees_no_chunks(encoder: VisualEncoder) -> None:
    encoder.backbone.eval()
    frames = frames_of(16)
    expected = encoder.frame_features(frames)
    before = {name: value.clone() for name, value in encoder.named_buffers()}
    encoder.chunk_frames, encoder.checkpointing = 8, True
    assert torch.equal(encoder.frame_features(frames), expected)
    assert all(torch.equal(value, before[name]) for name, value in encoder.named_buffers())
