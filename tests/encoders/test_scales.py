"""Frames seen at two scales."""

import torch

from slt_cache.encoders.scales import AtScales


class Corners(torch.nn.Module):
    """The pixel in the upper left corner of each frame as its feature."""

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return frames[:, :, 0, 0]


def test_the_second_scale_averages_the_tiles_of_each_frame_alone() -> None:
    frames = torch.rand(5, 3, 8, 8)
    found = AtScales(Corners(), (1, 2))(frames)
    assert found.shape == (5, 6)
    tiles = frames[:, :, ::4, ::4]  # the corners of 2 x 2 tiles of 4 pixels
    torch.testing.assert_close(found[:, 3:], tiles.mean((-1, -2)))
    assert torch.equal(AtScales(Corners(), (2,))(frames), found[:, 3:])


def test_the_first_scale_sees_the_whole_frame_in_the_size_of_a_tile() -> None:
    even = torch.rand(2, 3, 1, 1).expand(2, 3, 8, 8)
    torch.testing.assert_close(AtScales(Corners(), (1, 2))(even)[:, :3], even[:, :, 0, 0])


def test_windows_are_seen_at_two_scales_frame_by_frame() -> None:
    windows = torch.rand(2, 4, 3, 8, 8)
    seen: list[torch.Size] = []

    class Network(torch.nn.Module):
        def forward(self, frames: torch.Tensor) -> torch.Tensor:
            seen.append(frames.shape)
            return frames.mean((1, 3, 4))

    scaled = AtScales(Network(), (1, 2))
    assert scaled(windows).shape == (2, 6)
    assert seen == [(2, 4, 3, 4, 4), (8, 4, 3, 4, 4)]
