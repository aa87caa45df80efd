"""Adapters with a temporal module, and of several streams: what a clip gives alone it gives in every batch."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from slt_cache.config import TemporalConfig
from slt_cache.decoding.attention import word_attentions
from slt_cache.encoders.packing import packed
from slt_cache.encoders.temporal import LocalTemporalModule
from slt_cache.errors import InputError
from slt_cache.models.adapter import Adapter, StreamAdapter, spread
from slt_cache.models.translators import SignTranslator
from slt_cache.models.weights import load_weights
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


DIMS = (12, 5, 7)
FUSED = pytest.mark.parametrize("fusion", ["channels", "time"])
STREAMED = ((3, 6, 2), (7, 7, 7), (1, 4, 9))
"""Lengths of the three streams of three clips."""


def streams_of(*lengths: int) -> tuple[torch.Tensor, ...]:
    return tuple(torch.randn(length, dim) for length, dim in zip(lengths, DIMS, strict=True))


@pytest.fixture
def clips() -> list[tuple[torch.Tensor, ...]]:
    torch.manual_seed(6)
    return [streams_of(*lengths) for lengths in STREAMED]


@pytest.fixture
def fused(small_mbart: Any, tokenizer: Tokenizer, fusion: str) -> SignTranslator:
    torch.manual_seed(7)
    model = SignTranslator(DIMS, small_mbart, tokenizer.start, temporal=STRIDED, stream_fusion=fusion)
    if isinstance(model.adapter, StreamAdapter) and model.adapter.places is not None:
        nn.init.normal_(model.adapter.places)
    return model.eval()


@FUSED
@torch.no_grad()
def test_streams_of_a_clip_are_embedded_alike_alone_and_in_any_batch(
    fused: SignTranslator, clips: list[tuple[torch.Tensor, ...]], fusion: str
) -> None:
    features, lengths = packed(clips)
    embeds, mask = fused.embed(features, lengths)
    assert mask.sum(1).tolist() == ([2, 4, 1] if fusion == "channels" else [2 + 3 + 1, 4 + 4 + 4, 1 + 2 + 5])
    assert (mask.diff(dim=1) <= 0).all()  # an LLM that counts positions must see no gap
    rows = pad_sequence(list(features.split(lengths.amax(1).tolist())), batch_first=True)
    padded = torch.full_like(rows, 5.0)
    for row, clip in enumerate(clips):
        for stream, first in zip(clip, (0, 12, 17), strict=True):
            padded[row, : len(stream), first : first + stream.shape[1]] = stream
    again, _ = fused.embed(padded, lengths)  # what follows a stream is not read
    backwards, _ = fused.embed(*packed(clips[::-1]))
    for row, clip in enumerate(clips):
        alone, [steps] = fused.embed(*packed([clip]))
        for found in (embeds[row], again[row], backwards[-1 - row]):
            torch.testing.assert_close(found[: int(steps.sum())], alone[0], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_channels_are_the_sum_over_streams_at_the_length_of_the_first() -> None:
    torch.manual_seed(0)
    adapter = StreamAdapter((3, 4), 6, fusion="channels")
    first, other = torch.randn(4, 3), torch.randn(4, 4)
    embeds, steps = adapter.embed(*batched([(first, other)]))
    torch.testing.assert_close(embeds[0], adapter.streams[0](first) + adapter.streams[1](other))
    shorter = torch.stack([other[:2].mean(0), other[2:].mean(0)])  # the middles of the halves of four steps
    embeds, steps = adapter.embed(*batched([(first[:2], other)]))
    torch.testing.assert_close(embeds[0], adapter.streams[0](first[:2]) + adapter.streams[1](shorter))
    assert steps.tolist() == [2]


def batched(clips: list[tuple[torch.Tensor, ...]]) -> tuple[torch.Tensor, torch.Tensor]:
    features, lengths = packed(clips)
    return pad_sequence(list(features.split(lengths.amax(1).tolist())), batch_first=True), lengths


@pytest.mark.parametrize("noise", [0, 1])
def test_a_stream_of_noise_is_turned_down_wherever_it_stands(noise: int) -> None:
    torch.manual_seed(1)
    teacher, adapter = Adapter(8, 16), StreamAdapter((8, 8), 16, fusion="channels")
    optimizer, lengths = torch.optim.Adam(adapter.parameters(), lr=1e-3), torch.full((64, 2), 5)
    for _ in range(200):
        streams = torch.randn(2, 64, 5, 8)
        with torch.no_grad():
            wanted = teacher(streams[1 - noise])
        optimizer.zero_grad()
        (adapter.embed(torch.cat([*streams], -1), lengths)[0] - wanted).square().mean().backward()
        optimizer.step()
    assert adapter.weights[noise] < adapter.weights[1 - noise] / 2


def test_an_adapter_saved_before_streams_had_weights_loads_with_equal_ones(tmp_path: Path) -> None:
    torch.manual_seed(0)
    saved, loaded = StreamAdapter((3, 4), 6, fusion="channels"), StreamAdapter((3, 4), 6, fusion="channels")
    save_file({name: one for name, one in saved.state_dict().items() if name != "gates"}, tmp_path / "adapter")
    load_weights(loaded, tmp_path / "adapter")
    assert all(torch.equal(one, saved.state_dict()[name]) for name, one in loaded.state_dict().items())
    assert loaded.weights.tolist() == [1, 1]
    with pytest.raises(InputError, match="has the unknown"):
        load_weights(Adapter(3, 6), tmp_path / "adapter")


@FUSED
@torch.no_grad()
def test_a_stream_that_is_left_out_adds_nothing(
    fused: SignTranslator, clips: list[tuple[torch.Tensor, ...]], fusion: str
) -> None:
    assert isinstance(fused.adapter, StreamAdapter)
    fused.adapter.without = frozenset({1})
    embeds, mask = fused.embed(*packed(clips))
    other = [(one, torch.full_like(two, 9.0), three) for one, two, three in clips]
    assert torch.equal(fused.embed(*packed(other))[0], embeds)
    assert mask.sum(1).tolist() == ([2, 4, 1] if fusion == "channels" else [3, 8, 6])
    fused.adapter.without = frozenset()
    assert not torch.equal(fused.embed(*packed(other))[0], fused.embed(*packed(clips))[0])


@torch.no_grad()
@pytest.mark.parametrize("dropout", [0.4, 0.99])
def test_stream_dropout_leaves_out_that_share_but_never_all_and_only_in_training(dropout: float) -> None:
    adapter = StreamAdapter((1, 1, 1), 2, fusion="time", dropout=dropout)
    lengths = torch.ones(4000, 3, dtype=torch.int64)
    torch.manual_seed(1)
    _, steps = adapter.embed(torch.randn(4000, 1, 3), lengths)
    assert steps.min() == 1
    left_out = 1 - steps.float().mean() / 3  # of three streams one stays at least
    assert abs(left_out - (dropout - dropout**3 / 3)) < 0.02
    _, steps = adapter.eval().embed(torch.randn(4000, 1, 3), lengths)
    assert steps.eq(3).all()


@FUSED
def test_all_streams_lose_the_same_share_where_there_are_too_few_positions(fusion: str) -> None:
    adapter = StreamAdapter((1, 1, 1), 2, temporal=STRIDED, fusion=fusion)
    lengths = torch.tensor([[40, 20, 1], [3, 3, 3], [1, 1, 200]])
    read = adapter.truncated(lengths, 20)  # ten steps after the stride
    assert (read >= 1).all() and (read <= lengths).all() and adapter.steps(read).max() <= 10
    assert read[1].tolist() == [3, 3, 3]
    assert read[0].tolist() == ([20, 10, 1] if fusion == "channels" else [10, 6, 1])


@FUSED
@torch.no_grad()
def test_attention_is_over_the_time_of_the_first_stream(
    fused: SignTranslator, clips: list[tuple[torch.Tensor, ...]], tokenizer: Tokenizer
) -> None:
    for clip, found in zip(clips, word_attentions(fused, tokenizer, clips, ["ein satz"] * 3), strict=True):
        assert found.weights.shape == (2, len(clip[0]))
        torch.testing.assert_close(torch.tensor(found.weights).sum(1), torch.ones(2), atol=1e-5, rtol=0)


@FUSED
def test_clips_generate_alike_packed_and_padded_beyond_the_positions(
    fused: SignTranslator, clips: list[tuple[torch.Tensor, ...]]
) -> None:
    fused.__dict__["positions"] = 6
    forms = packed(clips), batched(clips)
    found = [fused.generate(*form, max_new_tokens=3).sequences for form in forms]
    assert torch.equal(*found)
    assert fused.steps_left_out(forms[0][1]).max() > 0
