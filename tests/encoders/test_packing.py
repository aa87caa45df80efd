"""Clips one after another, and side by side."""

import torch

from slt_cache.encoders.packing import pad, step_mask, unpadded


def test_padding_and_mask_belong_together() -> None:
    lengths = torch.tensor([2, 1, 3])
    packed = torch.arange(1.0, 13.0).reshape(6, 2)
    mask = step_mask(lengths)
    padded = pad(packed, mask)
    assert padded.shape == (3, 3, 2)
    assert mask.tolist() == [[True, True, False], [True, False, False], [True, True, True]]
    assert torch.equal(padded[mask], packed)
    assert torch.equal(padded[~mask], torch.zeros(3, 2))


def test_steps_are_taken_out_of_the_padding_as_a_mask_takes_them_and_gradients_go_back() -> None:
    padded, mask = torch.randn(3, 5, 2, requires_grad=True), step_mask(torch.tensor([2, 5, 1]))
    taken = unpadded(padded, mask)
    assert torch.equal(taken, padded[mask])
    found, expected = (torch.autograd.grad(one.square().sum(), padded)[0] for one in (taken, padded[mask]))
    assert torch.equal(found, expected)
