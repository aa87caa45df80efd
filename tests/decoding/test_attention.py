"""Which steps each word looked at, in every family of encoder-decoders."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from slt_cache.config import LoraConfig
from slt_cache.decoding.attention import WordAttention, segment_words, word_attention, word_attentions
from slt_cache.models.llm.load import load_seq2seq
from slt_cache.models.llm.lora import add_lora
from slt_cache.models.translators import SignTranslator, make_light_t
from slt_cache.text.tokenizer import Tokenizer, load_tokenizer
from tests.helpers.small_llms import FAMILIES, SENTENCES, make_small_llm

DIM = 16
CODES = {"mbart": "de_DE", "mbart50": "de_DE", "nllb": "deu_Latn", "m2m100": "de"}
GERMAN, CHINESE = SENTENCES[0], SENTENCES[18]
Make = Callable[..., tuple[SignTranslator, Tokenizer]]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    folders: dict[tuple[str, str], Path] = {}

    def made(family: str, **changes: Any) -> tuple[SignTranslator, Tokenizer]:
        folder = folders.setdefault((family, str(changes)), tmp_path_factory.mktemp(family) / "llm")
        if not folder.exists():
            make_small_llm(family, folder, **changes)
        tokenizer = load_tokenizer(str(folder), CODES.get(family))
        return SignTranslator(DIM, load_seq2seq(str(folder)), tokenizer.start).eval(), tokenizer

    return made


def clip(steps: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((steps, DIM)).astype(np.float16)


@pytest.mark.parametrize("lora", [False, True], ids=["plain", "lora"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_word_spreads_one_over_the_steps_of_its_clip(make: Make, family: str, lora: bool) -> None:
    translator, tokenizer = make(family)
    if lora:
        add_lora(translator.seq2seq, LoraConfig(r=4))
    before = translator.seq2seq.config._attn_implementation
    for sentence, steps in [(GERMAN, 9), (CHINESE, 1), ("", 3)]:
        found = word_attention(translator, tokenizer, clip(steps), sentence)
        assert found.weights.shape == (len(found.words), steps)
        assert found.weights.dtype == np.float32
        np.testing.assert_allclose(found.weights.sum(1), 1, atol=1e-5)
    assert translator.seq2seq.config._attn_implementation == before
    assert translator.seq2seq.get_decoder().config._attn_implementation == before


@pytest.mark.parametrize("family", FAMILIES)
def test_the_words_are_those_of_the_sentence(make: Make, family: str) -> None:
    _, tokenizer = make(family)
    found = segment_words(tokenizer, tokenizer.encode(GERMAN))
    assert [word for word, _ in found] == GERMAN.split()
    spans = [span for _, span in found]
    assert [span.start for span in spans] == [0, *(span.stop for span in spans[:-1])]
    assert spans[-1].stop == len(tokenizer.encode(GERMAN))


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "mbart"])  # it has no full-width marks
def test_chinese_is_cut_into_pieces_of_whole_characters(make: Make, family: str) -> None:
    _, tokenizer = make(family)
    words = [word for word, _ in segment_words(tokenizer, tokenizer.encode("今天天气很好 ok fine"))]
    assert "".join(words) == "今天天气很好okfine"
    assert words[-2:] == ["ok", "fine"]
    assert 3 <= len(words) - 2 <= 6
    assert not any("\N{REPLACEMENT CHARACTER}" in word for word in words)


def test_unknown_characters_are_words_of_their_own(make: Make) -> None:
    _, tokenizer = make("mbart")
    assert [word for word, _ in segment_words(tokenizer, tokenizer.encode("am ♞ tag"))] == ["am", "<unk>", "tag"]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_gives_what_each_clip_gives_alone(make: Make, family: str) -> None:
    """So padding, of steps and of pieces, gets nothing and changes nothing."""
    translator, tokenizer = make(family)
    clips = [clip(5, 1), clip(12, 2), clip(2, 3), clip(7, 4)]
    sentences = [GERMAN, "regen .", SENTENCES[1], "schnee im norden"]
    together = word_attentions(translator, tokenizer, clips, sentences, batch_size=3)
    for features, sentence, found in zip(clips, sentences, together, strict=True):
        alone = word_attention(translator, tokenizer, features, sentence)
        assert found.words == alone.words
        np.testing.assert_allclose(found.weights, alone.weights, atol=1e-5)


def test_it_equals_what_is_computed_by_hand(make: Make) -> None:
    """Queries, keys and softmax of one layer of one head, as they stand in the paper that named them."""
    translator, tokenizer = make("mbart", decoder_layers=1, decoder_attention_heads=1)
    features = torch.from_numpy(clip(6)).float()
    ids = tokenizer.encode("am tag")
    [attention] = [layer.encoder_attn for layer in translator.seq2seq.get_decoder().layers]
    caught: list[torch.Tensor] = []
    hook = attention.q_proj.register_forward_pre_hook(lambda module, inputs: caught.append(inputs[0]))
    with torch.no_grad():
        translator(features, torch.tensor([6]), torch.tensor([[*tokenizer.start, *ids]]))
        hook.remove()
        states = translator.hidden(features, torch.tensor([6]))  # [N, D]
        queries, keys = attention.q_proj(caught[0][0]), attention.k_proj(states)  # [L, D], [N, D]
        weights = (queries @ keys.T / queries.shape[1] ** 0.5).softmax(-1)[: len(ids)]  # position i predicts piece i
    found = word_attention(translator, tokenizer, features, "am tag")
    expected = [weights[span].mean(0) for _, span in segment_words(tokenizer, ids)]
    np.testing.assert_allclose(found.weights, torch.stack(expected), atol=1e-5)


def test_heads_and_layers_are_averaged(make: Make) -> None:
    translator, tokenizer = make("t5")
    translator.seq2seq.set_attn_implementation("eager")
    features, ids = torch.from_numpy(clip(6)).float(), tokenizer.encode("regen")
    embeds, mask = translator.embed(features, torch.tensor([6]))
    with torch.no_grad():
        layers = translator.seq2seq(
            inputs_embeds=embeds,
            attention_mask=mask,
            decoder_input_ids=torch.tensor([[*tokenizer.start, *ids]]),
            output_attentions=True,
        ).cross_attentions
    assert len(layers) == 2 and layers[0].shape[1] == 4
    first = len(tokenizer.start) - 1
    expected = torch.stack(layers)[:, 0, :, first : first + len(ids)].mean((0, 1)).mean(0, keepdim=True)
    np.testing.assert_allclose(word_attention(translator, tokenizer, features, "regen").weights, expected, atol=1e-6)


def test_attention_is_fused_again_after_an_error(make: Make) -> None:
    translator, tokenizer = make("mbart")
    assert translator.seq2seq.config._attn_implementation == "sdpa"  # else this test shows nothing
    with pytest.raises(RuntimeError):
        word_attention(translator, tokenizer, np.zeros((3, DIM + 1), np.float32), GERMAN)
    assert translator.seq2seq.config._attn_implementation == "sdpa"


def test_steps_and_pieces_that_there_are_no_positions_for_are_not_read(make: Make) -> None:
    translator, tokenizer = make("mbart", max_position_embeddings=8)
    found = word_attention(translator, tokenizer, clip(11), GERMAN)
    assert found.weights.shape[1] == 11
    assert (found.weights[:, 8:] == 0).all()
    np.testing.assert_allclose(found.weights.sum(1), 1, atol=1e-5)
    assert found.words == tuple(GERMAN.split())[: len(found.words)]
    assert 0 < len(found.words) < len(GERMAN.split())


def test_light_t_is_looked_into_too(tokenizer: Tokenizer) -> None:
    light_t = make_light_t("tiny", len(tokenizer), tokenizer.pad, tokenizer.eos, dropout=0.0)
    found = word_attention(SignTranslator(DIM, light_t, tokenizer.start), tokenizer, clip(7), "heute regnet es")
    assert isinstance(found, WordAttention)
    assert found.words == ("heute", "regnet", "es")
    np.testing.assert_allclose(found.weights.sum(1), 1, atol=1e-5)
