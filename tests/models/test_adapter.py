"""Adapters with a temporal module, and of several streams: what a clip gives alone it gives in every batch."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from slt_cache.config import TemporalConfig
from slt_cache.encoders.temporal import LocalTemporalModule
from slt_cache.models.adapter import Adapter, spread
from slt_cache.models.translators import SignTranslator
from slt_cache.text.tokenizer import Tokenizer

DIM = 12
LENGTHS = (3, 7, 1, 8)
STRIDED = TemporalConfig(kernel=3, stride=2)


def clips_of(*lengths: int, dim: int = DIM) -> list[torch.Tensor]:
    torch.manual_seed(5)
    return [torch.randn(length, dim) for length in lengths]


def lengths_of(clips: list[torch.Tensor]) -> torch.Tensor:
    return torch.tensor([len(clip) for clip in clips])


@pytest.fixture
def strided(small_mbart: Any, tokenizer: Tokenizer) -> SignTranslator:
    model = SignTranslator(DIM, small_mbart, tokenizer.start, temporal=STRIDED)
    model.adapter.embed(torch.randn(2, 9, DIM), torch.tensor([9, 6]))  # running statistics that are not 0 and 1
    return model.eval()


@torch.no_grad()
def test_a_temporal_module_reads_what_a_convolution_over_the_clip_alone_gives() -> None:
    module = LocalTemporalModule(DIM, 5, 3, stride=2).eval()
    clips = clips_of(*LENGTHS)
    together = module(torch.cat(clips), lengths_of(clips)).split([2, 4, 1, 4])
    for clip, found in zip(clips, together, strict=True):
        plain = nn.functional.conv1d(clip.T[None], module.conv.weight, module.conv.bias, stride=2, padding=1)[0].T
        torch.testing.assert_close(found, torch.relu(module.norm(plain)), atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_a_clip_is_embedded_alike_alone_and_in_any_batch_packed_or_padded(strided: SignTranslator) -> None:
    clips = clips_of(*LENGTHS)
    embeds, mask = strided.embed(torch.cat(clips), lengths_of(clips))
    assert mask.sum(1).tolist() == [2, 4, 1, 4]
    padded = pad_sequence(clips, batch_first=True, padding_value=7.0)  # what follows a clip is not read
    form, same_mask = strided.embed(padded, lengths_of(clips))
    assert torch.equal(mask, same_mask)
    assert torch.equal(form[mask.bool()], embeds[mask.bool()])
    backwards, _ = strided.embed(torch.cat(clips[::-1]), lengths_of(clips[::-1]))
    for row, clip in enumerate(clips):
        steps = -(-len(clip) // 2)
        alone, _ = strided.embed(clip, torch.tensor([len(clip)]))
        torch.testing.assert_close(embeds[row, :steps], alone[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(backwards[-1 - row, :steps], alone[0], atol=1e-5, rtol=1e-5)


def test_batch_statistics_are_those_of_the_steps_without_padding() -> None:
    adapter = Adapter(DIM, 4, temporal=STRIDED)
    clips = clips_of(2, 9)
    alone = Adapter(DIM, 4, temporal=STRIDED)
    alone.load_state_dict(adapter.state_dict())
    adapter.embed(pad_sequence(clips, batch_first=True), lengths_of(clips))
    assert alone.temporal is not None and adapter.temporal is not None
    alone.temporal(torch.cat(clips), lengths_of(clips))
    assert torch.equal(adapter.temporal.norm.get_buffer("running_mean"), alone.temporal.norm.get_buffer("running_mean"))


@torch.no_grad()
def test_positions_count_steps_of_features_before_the_stride(strided: SignTranslator) -> None:
    assert strided.kind.positions is not None and strided.positions == 2 * strided.kind.positions
    strided.__dict__["positions"] = 4
    lengths = torch.tensor([7, 3])
    assert strided.steps_left_out(lengths).tolist() == [3, 0]
    clips = clips_of(7, 3)
    forms = (torch.cat(clips), pad_sequence(clips, batch_first=True))
    found = [strided.generate(form, lengths, max_new_tokens=3).sequences for form in forms]
    cut = strided.generate(torch.cat([clips[0][:4], clips[1]]), torch.tensor([4, 3]), max_new_tokens=3).sequences
    assert torch.equal(found[0], cut) and torch.equal(found[1], cut)


def test_weights_spread_over_the_time_that_each_step_covers() -> None:
    weights = torch.tensor([[0.5, 0.2, 0.3], [0.0, 1.0, 0.0]])
    assert torch.allclose(spread(weights, 2, 5, 5), torch.tensor([[0.25, 0.25, 0.1, 0.1, 0.3], [0, 0, 0.5, 0.5, 0]]))
    halves = spread(weights, 1, 3, 2)  # another time axis: the middle step lies in both halves
    assert torch.allclose(halves, torch.tensor([[0.6, 0.4], [0.5, 0.5]]))
    assert spread(weights, 1, 3, 3) is weights
