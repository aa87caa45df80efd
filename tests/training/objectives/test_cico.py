"""Fine-grained contrast of videos and sentences."""

import torch

from slt_cache.training.objectives.across import TEMPERATURE
from slt_cache.training.objectives.cico import similarities


def test_each_step_is_matched_with_the_tokens_most_like_it() -> None:
    axes = torch.eye(4)
    video, sentence = axes[[0, 1]][None], axes[[1, 0, 2, 3]][None]
    whole, last_is_padding = torch.ones(1, 4, 1), torch.tensor([[1.0], [1.0], [1.0], [0.0]])[None]
    both = similarities(video, torch.ones(1, 2, 1), sentence, whole)
    weight = torch.tensor([1.0, 0.0, 0.0, 0.0]).div(TEMPERATURE).softmax(0)[0]
    assert torch.allclose(both, weight.reshape(1, 1))
    fewer = similarities(video, torch.ones(1, 2, 1), sentence, last_is_padding)
    assert torch.allclose(fewer, torch.tensor([1.0, 0.0, 0.0]).div(TEMPERATURE).softmax(0)[0].reshape(1, 1))
    one_step = similarities(video, torch.tensor([[[1.0], [0.0]]]), axes[[0]][None], torch.ones(1, 1, 1))
    assert torch.allclose(one_step, torch.ones(1, 1))
