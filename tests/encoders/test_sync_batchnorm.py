"""Batch norms with the statistics of several processes."""

import torch
from torch import nn

from slt_cache.encoders.sync_batchnorm import sync_batch_norms


def test_synchronized_batch_norms_keep_names_and_kinds() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Flatten(2), nn.BatchNorm1d(4))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    pictures = torch.rand(2, 3, 4, 4)
    expected = model.eval()(pictures)
    assert sync_batch_norms(model) == 2
    assert torch.equal(model(pictures), expected)  # scoring needs nobody else
    assert model.state_dict().keys() == before.keys()
    assert isinstance(model[1], nn.BatchNorm2d) and isinstance(model[3], nn.BatchNorm1d)
