"""Light-T, the adapter before a translation model, the search for a sentence, and the loss."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import M2M100ForConditionalGeneration

from slt_cache.encoders.visual_encoder import VisualEncoder
from slt_cache.models.adapter import Adapter
from slt_cache.models.translators import (
    IGNORED,
    LIGHT_T_SIZES,
    SignTranslator,
    VisualTranslator,
    make_light_t,
    token_loss,
)
from slt_cache.text.tokenizer import Tokenizer

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
DIM = 32
LENGTHS = (3, 7, 1, 5)


def frames_of(*lengths: int) -> list[torch.Tensor]:
    return [torch.randint(0, 256, (length, 3, 32, 32), dtype=torch.uint8) for length in lengths]


def features_of(*lengths: int) -> list[torch.Tensor]:
    return [torch.randn(length, DIM) for length in lengths]


def lengths_of(clips: list[torch.Tensor]) -> torch.Tensor:
    return torch.tensor([len(clip) for clip in clips])


@pytest.fixture
def translator(small_mbart: Any, tokenizer: Tokenizer) -> SignTranslator:
    return SignTranslator(DIM, small_mbart, tokenizer.start).eval()


# --- Light-T


@pytest.mark.parametrize(
    ("size", "layers", "heads", "hidden", "feed_forward"),
    [("tiny", 1, 4, 256, 1024), ("small", 2, 4, 512, 2048), ("base", 3, 8, 512, 2048), ("large", 4, 8, 1024, 4096)],
)
def test_light_t_has_the_papers_sizes(size: str, layers: int, heads: int, hidden: int, feed_forward: int) -> None:
    with torch.device("meta"):
        model = make_light_t(size, 100, 1, 2, 0.1)
    for side in (model.get_encoder(), model.get_decoder()):
        assert len(side.layers) == layers
        assert side.layers[0].self_attn.num_heads == heads
        assert side.layers[0].fc1.weight.shape == (feed_forward, hidden)
    assert model.get_output_embeddings().weight.shape == (100, hidden)
    assert set(LIGHT_T_SIZES) == {"tiny", "small", "base", "large"}


@torch.no_grad()
def test_light_t_adds_positions_to_the_sign_embeddings(tokenizer: Tokenizer) -> None:
    light_t = make_light_t("tiny", len(tokenizer), tokenizer.pad, tokenizer.eos, 0.1)
    model = SignTranslator(DIM, light_t, tokenizer.start).eval()
    same = torch.randn(1, DIM).expand(4, -1)
    states = model.hidden(same, torch.tensor([4]))
    assert states.shape == (4, 256)
    assert (states[0] - states[3]).abs().max() > 1e-2


@torch.no_grad()
@pytest.mark.parametrize("start", [(0,), (9,)])
def test_light_t_reads_token_by_token_what_it_reads_at_once(start: tuple[int, ...], tmp_path: Path) -> None:
    """T5's start token is its padding, 0, which M2M100 gives no position, not in a saved one either."""
    make_light_t("tiny", 20, 0, 1, 0.0).save_pretrained(tmp_path)
    light_t = M2M100ForConditionalGeneration.from_pretrained(tmp_path).eval()
    SignTranslator(DIM, light_t, start)
    signs, ids = torch.randn(1, 6, 256), torch.tensor([[*start, 5, 6, 7]])
    at_once = light_t(inputs_embeds=signs, decoder_input_ids=ids, use_cache=False).logits
    cache, steps = None, []
    for place in range(ids.shape[1]):
        read = light_t(
            inputs_embeds=signs, decoder_input_ids=ids[:, place : place + 1], past_key_values=cache, use_cache=True
        )
        cache = read.past_key_values
        steps.append(read.logits)
    assert torch.allclose(torch.cat(steps, 1), at_once, atol=1e-4)


@torch.no_grad()
def test_both_stages_forward_pixels_and_words_to_logits(translator: SignTranslator) -> None:
    encoder = VisualEncoder("resnet18", DIM, 5, MEAN, STD).eval()
    clips = frames_of(3, 2)
    logits = VisualTranslator(encoder, translator)(torch.cat(clips), lengths_of(clips), torch.tensor([[5, 6, 7]] * 2))
    assert logits.shape == (2, 3, translator.seq2seq.config.vocab_size)


# --- sign translator


def test_the_adapter_is_an_mlp_with_one_hidden_layer() -> None:
    adapter = Adapter(DIM, 16)
    linear = [module for module in adapter.modules() if isinstance(module, torch.nn.Linear)]
    assert [tuple(module.weight.shape) for module in linear] == [(16, DIM), (16, 16)]


@torch.no_grad()
def test_sign_embeddings_are_scaled_like_the_word_embeddings_they_replace(
    translator: SignTranslator, tokenizer: Tokenizer
) -> None:
    """Word embeddings through the adapter's way must give what the word ids give."""
    ids = torch.tensor([tokenizer.encode("heute regnet es im süden")])
    target = torch.tensor([[*tokenizer.start, 5, 6]])
    mbart = translator.seq2seq
    by_ids = mbart(input_ids=ids, attention_mask=torch.ones_like(ids), decoder_input_ids=target).logits
    assert translator.scale == math.sqrt(mbart.config.d_model)
    embedding = mbart.get_input_embeddings()
    words = torch.nn.functional.embedding(ids[0], embedding.weight)  # unscaled, as the table holds them
    translator.adapter.mlp = torch.nn.Sequential()  # lets them through as they are
    by_embeddings = translator(words, torch.tensor([ids.shape[1]]), target)
    torch.testing.assert_close(by_embeddings, by_ids, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_padding_of_sign_features_does_not_change_a_clips_logits(
    translator: SignTranslator, tokenizer: Tokenizer
) -> None:
    clips = features_of(*LENGTHS)
    targets = torch.tensor([[*tokenizer.start, 5, 6, 7]])
    together = translator(torch.cat(clips), lengths_of(clips), targets.expand(len(clips), -1))
    hidden = translator.hidden(torch.cat(clips), lengths_of(clips)).split(list(LENGTHS))
    for index, clip in enumerate(clips):
        alone = translator(clip, torch.tensor([len(clip)]), targets)
        torch.testing.assert_close(together[index], alone[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(
            hidden[index], translator.hidden(clip, torch.tensor([len(clip)])), atol=1e-5, rtol=1e-5
        )


@torch.no_grad()
@pytest.mark.parametrize("positions", [None, 4])
def test_features_may_come_packed_or_padded(small_mbart: Any, tokenizer: Tokenizer, positions: int | None) -> None:
    model = SignTranslator(DIM, small_mbart, tokenizer.start).eval()
    clips = features_of(*LENGTHS)
    lengths, together = lengths_of(clips), pad_sequence(clips, batch_first=True)
    for ours, theirs in zip(model.embed(torch.cat(clips), lengths), model.embed(together, lengths), strict=True):
        assert torch.equal(ours, theirs)
    if positions is not None:
        model.__dict__["positions"] = positions  # fewer than the longest clip has steps
    found = [model.generate(form, lengths, max_new_tokens=3).sequences for form in (torch.cat(clips), together)]
    assert torch.equal(*found)


@torch.no_grad()
def test_feature_dropout_acts_in_training_only(small_mbart: Any, tokenizer: Tokenizer) -> None:
    model = SignTranslator(DIM, small_mbart, tokenizer.start, feature_dropout=0.5)
    [clip] = features_of(6)
    model.eval()
    first, second = (model.embed(clip, torch.tensor([6]))[0] for _ in range(2))
    assert torch.equal(first, second)
    model.train()
    assert not torch.equal(model.embed(clip, torch.tensor([6]))[0], first)


@torch.no_grad()
def test_step_dropout_zeroes_whole_steps_in_training_only(small_mbart: Any, tokenizer: Tokenizer) -> None:
    model = SignTranslator(DIM, small_mbart, tokenizer.start, step_dropout=0.3)
    clip, lengths = torch.randn(2000, DIM), torch.tensor([500] * 4)
    blank = model.adapter(torch.zeros(DIM)) * model.scale
    model.eval()
    plain = model.embed(clip, lengths)[0]
    model.train()
    first, second = (model.embed(clip, lengths)[0] for _ in range(2))
    gone = (first - blank).abs().amax(-1) < 1e-5
    assert gone.float().mean() == pytest.approx(0.3, abs=0.04)
    torch.testing.assert_close(first[~gone], plain[~gone])  # the others keep their size
    assert not torch.equal(first, second)


@torch.no_grad()
def test_channel_dropout_takes_a_channel_from_all_steps_of_a_clip(small_mbart: Any, tokenizer: Tokenizer) -> None:
    model = SignTranslator(400, small_mbart, tokenizer.start, channel_dropout=0.25)
    model.adapter.mlp = torch.nn.Sequential()  # lets the features through as they are
    clips = [torch.rand(steps, 400) + 1 for steps in (3, 1, 5)]
    model.eval()
    plain = model.embed(torch.cat(clips), lengths_of(clips))[0] / model.scale
    model.train()
    dropped = model.embed(torch.cat(clips), lengths_of(clips))[0] / model.scale  # [B, N, C]
    for row, clip in enumerate(clips):
        gone = dropped[row, 0] == 0
        assert gone.float().mean() == pytest.approx(0.25, abs=0.1)
        assert not dropped[row, :, gone].any()
        torch.testing.assert_close(dropped[row, : len(clip), ~gone], plain[row, : len(clip), ~gone] / 0.75)
    assert not torch.equal(dropped[0, 0] == 0, dropped[2, 0] == 0)  # each clip loses others


@torch.no_grad()
def test_without_dropout_no_random_number_is_drawn(small_mbart: Any, tokenizer: Tokenizer) -> None:
    model = SignTranslator(DIM, small_mbart, tokenizer.start).train()
    before = torch.get_rng_state()
    model.embed(torch.randn(5, DIM, generator=torch.Generator().manual_seed(1)), torch.tensor([5]))
    assert torch.equal(torch.get_rng_state(), before)


@torch.no_grad()
def greedy(model: SignTranslator, clip: torch.Tensor, eos: int, steps: int) -> list[int]:
    """Greedy search written out: the likeliest next token until the sentence ends."""
    ids = list(model.start)
    for _ in range(steps - 1):
        logits = model(clip, torch.tensor([len(clip)]), torch.tensor([ids]))
        ids.append(int(logits[0, -1].argmax()))
        if ids[-1] == eos:
            return ids
    return [*ids, eos]  # the last step that is allowed ends the sentence


def sharpen(model: SignTranslator, eos: int) -> None:
    """Random weights that do say different things for different clips, and end at some time."""
    for weight in model.parameters():
        if weight.dim() == 2:
            torch.nn.init.normal_(weight, std=0.5)
    output = model.seq2seq.get_buffer("final_logits_bias")
    output[0, eos] = 4.0


@torch.no_grad()
def test_one_beam_is_greedy_search(translator: SignTranslator, tokenizer: Tokenizer) -> None:
    sharpen(translator, tokenizer.eos)
    clips = features_of(3, 7, 1, 5, 4, 6)
    result = translator.generate(torch.cat(clips), lengths_of(clips), num_beams=1, do_sample=False, max_new_tokens=12)
    expected = [greedy(translator, clip, tokenizer.eos, 12) for clip in clips]
    assert len({tuple(ids) for ids in expected}) > 2
    for ids, wanted in zip(result.sequences.tolist(), expected, strict=True):
        assert ids[: len(wanted)] == wanted
        assert set(ids[len(wanted) :]) <= {tokenizer.pad}


@pytest.mark.parametrize("beams", [1, 3])
def test_decoding_starts_with_the_language_code(translator: SignTranslator, tokenizer: Tokenizer, beams: int) -> None:
    sharpen(translator, tokenizer.eos)
    clips = features_of(3, 7)
    result = translator.generate(torch.cat(clips), lengths_of(clips), num_beams=beams, max_new_tokens=6)
    assert result.sequences[:, 0].tolist() == [tokenizer.language_code()] * 2
    assert result.sequences.shape[1] <= 1 + 6


@torch.no_grad()
def test_more_beams_find_a_likelier_sentence_or_the_same(translator: SignTranslator, tokenizer: Tokenizer) -> None:
    sharpen(translator, tokenizer.eos)
    clips = features_of(*LENGTHS)

    def likelihood(clip: torch.Tensor, ids: torch.Tensor) -> float:
        words = torch.tensor([token for token in ids.tolist() if token != tokenizer.pad])
        logits = translator(clip, torch.tensor([len(clip)]), words[:-1].unsqueeze(0))
        return float(logits[0].log_softmax(-1).gather(1, words[1:].unsqueeze(1)).sum())

    found = [
        translator.generate(
            torch.cat(clips), lengths_of(clips), num_beams=beams, max_new_tokens=8, length_penalty=0.0, do_sample=False
        ).sequences
        for beams in (1, 64)
    ]
    pairs = [
        (likelihood(clip, narrow), likelihood(clip, wide)) for clip, narrow, wide in zip(clips, *found, strict=True)
    ]
    assert all(wide >= narrow - 1e-4 for narrow, wide in pairs)
    assert any(wide > narrow + 1e-4 for narrow, wide in pairs)


# --- loss


def test_the_loss_is_label_smoothed_cross_entropy_summed_over_tokens() -> None:
    logits = torch.tensor([[[2.0, 0.0, -1.0], [0.5, 0.5, 0.5]]])
    labels = torch.tensor([[0, 2]])
    expected = 0.0
    for step, label in ((0, 0), (1, 2)):
        row = logits[0, step].tolist()
        total = math.log(sum(math.exp(value) for value in row))
        for word, value in enumerate(row):
            share = (0.8 if word == label else 0.0) + 0.2 / 3  # 0.2 is spread over all three words
            expected -= share * (value - total)
    assert token_loss(logits, labels, 0.2).item() == pytest.approx(expected, rel=1e-6)
    assert token_loss(logits[:, :1], labels[:, :1], 0.0).item() == pytest.approx(
        -math.log(math.exp(2) / (math.exp(2) + 1 + math.exp(-1))), rel=1e-6
    )


def test_the_loss_ignores_padding() -> None:
    logits = torch.randn(2, 3, 11)
    labels = torch.tensor([[3, 4, 5], [6, IGNORED, IGNORED]])
    whole = token_loss(logits, labels, 0.2)
    parts = token_loss(logits[:1], labels[:1], 0.2) + token_loss(logits[1:, :1], labels[1:, :1], 0.2)
    torch.testing.assert_close(whole, parts)
    wild = logits.clone()
    wild[1, 1:] = 1e4
    torch.testing.assert_close(token_loss(wild, labels, 0.2), whole)
    assert token_loss(logits, torch.full((2, 3), IGNORED), 0.2) == 0.0
