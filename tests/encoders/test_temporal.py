"""The local temporal module: frame-wise to sign-wise features."""

import pytest
import torch

from slt_cache.encoders.temporal import LocalTemporalModule


def lengths_of(clips: list[torch.Tensor]) -> torch.Tensor:
    return torch.tensor([len(clip) for clip in clips])


@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
@torch.no_grad()
def test_the_temporal_module_keeps_the_length_and_does_not_reach_into_neighbours(kernel: int) -> None:
    module = LocalTemporalModule(8, 16, kernel).eval()
    clips = [torch.randn(length, 8) for length in (4, 1, 6)]
    lengths = lengths_of(clips)
    before = module(torch.cat(clips), lengths)
    assert before.shape == (11, 16)
    clips[1] = clips[1] + 100.0
    after = module(torch.cat(clips), lengths)
    torch.testing.assert_close(after[:4], before[:4])
    torch.testing.assert_close(after[5:], before[5:])
    assert not torch.allclose(after[4], before[4])


@torch.no_grad()
def test_the_temporal_module_sees_as_many_steps_as_its_kernel_is_wide() -> None:
    module = LocalTemporalModule(8, 16, 5).eval()
    torch.nn.init.ones_(module.norm.bias)  # away from the flat side of the ReLU
    clip, lengths = torch.randn(9, 8), torch.tensor([9])
    changed = clip.clone()
    changed[4] += 10.0
    moved = (module(clip, lengths) != module(changed, lengths)).any(dim=1)
    assert moved.tolist() == [2 <= step <= 6 for step in range(9)]


def test_batch_statistics_ignore_padding_in_training() -> None:
    module = LocalTemporalModule(8, 16, 5).train()
    clips = [torch.randn(length, 8) + 3.0 for length in (2, 9, 4)]
    with torch.no_grad():
        mixed = torch.cat([module.conv(clip.T.unsqueeze(0))[0].T for clip in clips])  # [15, 16], no padded step
    packed = module(torch.cat(clips), lengths_of(clips))
    torch.testing.assert_close(module.norm.running_mean, 0.1 * mixed.mean(dim=0))
    torch.testing.assert_close(module.norm.running_var, 0.9 + 0.1 * mixed.var(dim=0))
    normal = (mixed - mixed.mean(dim=0)) / (mixed.var(dim=0, correction=0) + module.norm.eps).sqrt()
    torch.testing.assert_close(packed, normal.relu(), atol=1e-4, rtol=1e-4)
