"""Spans of steps that are hidden in training."""

import torch

from slt_cache.models.time_masks import TimeMasks


def hidden(masks: TimeMasks, lengths: list[int]) -> torch.Tensor:
    """Bool [B, N]."""
    return masks.apply(torch.ones(len(lengths), max(lengths), 3), torch.tensor(lengths))[:, :, 0] == 0


def test_spans_are_within_the_clip_and_no_longer_than_a_fifth_of_it_or_the_width() -> None:
    torch.manual_seed(0)
    lengths = [40] * 200 + [10] * 200 + [4] * 200
    one = hidden(TimeMasks(1, 3), lengths)
    widths = one.sum(1)
    assert widths[:200].unique().tolist() == [0, 1, 2, 3]
    assert widths[200:400].unique().tolist() == [0, 1, 2]
    assert not widths[400:].any()
    assert not one[200:400, 10:].any()  # padding
    changes = (one[:, 1:] != one[:, :-1]).sum(1)
    assert int(changes.max()) <= 2  # one span each
    assert one[:200, 0].any() and one[:200, 39].any() and one[:200].any(0).all()
    assert int(hidden(TimeMasks(4, 8), [40] * 100).sum(1).max()) > 8
