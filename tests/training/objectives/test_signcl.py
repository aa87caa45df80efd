"""Contrast of near and far frames."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from slt_cache.text.tokenizer import Tokenizer
from slt_cache.training.objectives.base import Seen, Setup
from slt_cache.training.objectives.signcl import SignContrast
from tests.training.objectives.conftest import WIDTH


def softplus(value: float) -> float:
    return math.log1p(math.exp(value))


def test_neighbours_are_drawn_together_and_far_frames_pushed_apart_up_to_the_margin(
    see: Callable[..., Seen], tokenizer: Tokenizer
) -> None:
    frames = torch.zeros(22, 512)
    frames[:, 0] = torch.arange(22.0)  # neighbours have the distance 1
    seen = replace(see([0]), frames=(frames,))
    tokens = int((seen.targets.labels[0] >= 0).sum())
    assert 2.3 * 22 / tokens < 10  # the shortest distance decides: 11 frames apart and more are far
    pairs = {distance: 22 - distance for distance in range(11, 22)}
    away = sum(count * softplus(32.0 - distance) for distance, count in pairs.items()) / sum(pairs.values())
    near = softplus(1 - 32.0)
    assert float(SignContrast(Setup(WIDTH, tokenizer))(seen)) == pytest.approx(near + away, rel=1e-5)


def test_distances_of_negatives_follow_the_tokens_of_the_sentence_and_the_frames_kept(
    see: Callable[..., Seen], tokenizer: Tokenizer
) -> None:
    one_far = torch.zeros(13, 512)
    one_far[12, 0] = 100.0  # 12 frames from the first
    seen = replace(see([0]), frames=(one_far,))
    every = float(SignContrast(Setup(WIDTH, tokenizer, keep_every=4))(seen))  # 10 frames are 2.5 kept ones
    assert every != pytest.approx(float(SignContrast(Setup(WIDTH, tokenizer))(seen)))
    labels = torch.full_like(seen.targets.labels, -100)
    labels[0, 0] = 5
    short = replace(seen, targets=replace(seen.targets, labels=labels))  # 2.3 x 13 frames per token, but at most 6.5
    near = (11 * softplus(-32.0) + softplus(100 - 32.0)) / 12
    away = (15 * softplus(32.0) + 6 * softplus(32.0 - 100)) / 21  # 7 to 12 frames apart; the last frame is in 6 pairs
    assert float(SignContrast(Setup(WIDTH, tokenizer))(short)) == pytest.approx(near + away, rel=1e-5)


def test_the_margin_grows_with_the_channels_and_a_single_frame_has_no_value(
    see: Callable[..., Seen], tokenizer: Tokenizer
) -> None:
    still = replace(see([0]), frames=(torch.zeros(12, 2048),))
    term = SignContrast(Setup(WIDTH, tokenizer))
    assert float(term(still)) == pytest.approx(softplus(4 * 32.0) + softplus(-4 * 32.0), rel=1e-5)
    assert float(term(replace(still, frames=(torch.zeros(1, 512),)))) == 0
