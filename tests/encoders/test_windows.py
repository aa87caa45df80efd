"""Windows of the frames of a clip."""

import math

import pytest
import torch

from slt_cache.encoders.windows import Windows


def windows_of(frames: torch.Tensor, window: int, stride: int, chunk: int) -> list[list[int]]:
    """The frames in each window of a clip that arrives in chunks, whose memory is used again."""
    clip, found = Windows(window, stride), []
    for part in frames.split(chunk):
        lent = part.clone()
        found += clip.add(lent).tolist()
        lent.fill_(-1)
    last = clip.end()
    return found + ([] if last is None else last.tolist())


@pytest.mark.parametrize("chunk", [1, 3, 50])
@pytest.mark.parametrize(("window", "stride"), [(4, 2), (4, 4), (4, 1), (5, 3)])
@pytest.mark.parametrize("length", [1, 3, 4, 5, 6, 8, 17])
def test_every_frame_is_in_a_window_whatever_the_chunks(length: int, window: int, stride: int, chunk: int) -> None:
    found = windows_of(torch.arange(length), window, stride, chunk)
    assert len(found) == 1 + max(0, math.ceil((length - window) / stride))
    assert found == [
        [min(start + frame, length - 1) for frame in range(window)] for start in range(0, len(found) * stride, stride)
    ]
    assert {frame for one in found for frame in one} == set(range(length))


def test_windows_of_one_frame_are_the_frames() -> None:
    frames, clip = torch.arange(6).view(3, 2), Windows(1, 1)
    assert torch.equal(clip.add(frames), frames)
    assert clip.end() is None
