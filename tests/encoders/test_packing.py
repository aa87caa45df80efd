"""Clips one after another, and side by side."""

import torch

from slt_cache.encoders.packing import pad, step_mask


def test_padding_and_mask_belong_together() -> None:
    lengths = torch.tensor([2, 1, 3])
    packed = torch.arange(1.0, 13.0).reshape(6, 2)
    mask = step_mask(lengths)
    padded = pad(packed, mask)
    assert padded.shape == (3, 3, 2)
    assert mask.tolist() == [[True, True, False], [True, False, False], [True, True, True]]
    assert torch.equal(padded[mask], packed)
    assert torch.equal(padded[~mask], torch.zeros(3, 2))
