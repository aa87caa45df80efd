"""Packed frames in, frame-wise and sign-wise features out."""

import pytest
import torch

from slt_cache.encoders.visual_encoder import VisualEncoder

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
DIM = 32
LENGTHS = (3, 7, 1, 5)


def frames_of(*lengths: int) -> list[torch.Tensor]:
    return [torch.randint(0, 256, (length, 3, 32, 32), dtype=torch.uint8) for length in lengths]


def lengths_of(clips: list[torch.Tensor]) -> torch.Tensor:
    return torch.tensor([len(clip) for clip in clips])


@pytest.fixture
def encoder() -> VisualEncoder:
    encoder = VisualEncoder("resnet18", DIM, 5, MEAN, STD)
    for module in encoder.modules():  # statistics that are not the neutral ones, as after training
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            torch.nn.init.normal_(module.running_mean, std=0.1)
            torch.nn.init.uniform_(module.running_var, 0.8, 1.2)
    return encoder.eval()


@torch.no_grad()
def test_padding_and_batch_order_do_not_change_a_clips_features(encoder: VisualEncoder) -> None:
    clips = frames_of(*LENGTHS)
    alone = [encoder(clip, torch.tensor([len(clip)])) for clip in clips]
    for order in ([0, 1, 2, 3], [3, 1, 0, 2], [1, 2], [2]):
        batch = [clips[index] for index in order]
        packed = encoder(torch.cat(batch), lengths_of(batch))
        assert packed.shape == (sum(len(clip) for clip in batch), DIM)
        for index, features in zip(order, packed.split([len(clip) for clip in batch]), strict=True):
            torch.testing.assert_close(features, alone[index], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(alone[0], alone[3][:3], atol=1e-2)


@torch.no_grad()
def test_frame_wise_features_see_one_frame_only(encoder: VisualEncoder) -> None:
    [clip] = frames_of(4)
    features = encoder.frame_features(clip)
    assert features.shape == (4, encoder.kind.dim)
    for index in range(4):
        torch.testing.assert_close(encoder.frame_features(clip[index : index + 1])[0], features[index])


@torch.no_grad()
def test_frames_are_normalized_before_the_backbone(encoder: VisualEncoder) -> None:
    [clip] = frames_of(2)
    normal = (clip.float() / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    torch.testing.assert_close(encoder.frame_features(clip), encoder.backbone(normal), atol=1e-5, rtol=1e-5)


def test_the_encoder_has_the_weights_of_its_backbone_and_one_convolution() -> None:
    encoder = VisualEncoder("resnet18", 512, 5, MEAN, STD)
    assert sum(weight.numel() for weight in encoder.backbone.parameters()) == 11_176_512
    assert sum(weight.numel() for weight in encoder.temporal.parameters()) == 512 * 512 * 5 + 512 + 2 * 512
    assert not any(name in encoder.state_dict() for name in ("mean", "std"))
