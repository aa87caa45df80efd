"""Gemma 3 270M with its published weights: that the conversion has kept what it can do, and that the project can use
it. `make test-real`."""

from typing import Any

import pytest
import torch

pytestmark = pytest.mark.real

GERMAN = "Das Wetter in München ist heute"


def loss_per_token(model: Any, tokenizer: Any, sentence: str) -> float:
    ids = tokenizer(sentence, return_tensors="pt").input_ids
    with torch.no_grad():
        return float(model(ids, labels=ids).loss)


def test_it_has_the_published_size_and_vocabulary(gemma: Any, gemma_tokenizer: Any) -> None:
    assert sum(weight.numel() for weight in gemma.parameters()) == 268_098_176
    assert gemma.get_input_embeddings().weight.shape == (262_144, 640)
    assert gemma.dtype == torch.float32
    assert len(gemma_tokenizer) == 262_144


def test_it_knows_german(gemma: Any, gemma_tokenizer: Any) -> None:
    good = loss_per_token(gemma, gemma_tokenizer, "Wenn es regnet, nehme ich einen Schirm mit.")
    mixed = loss_per_token(gemma, gemma_tokenizer, "Schirm ich es mit wenn nehme, einen regnet.")
    assert good < 4 < good + 2 < mixed


def test_it_writes_fluent_german_from_sentences_and_from_their_embeddings(gemma: Any, gemma_tokenizer: Any) -> None:
    ids = gemma_tokenizer(GERMAN, return_tensors="pt").input_ids
    settings: dict[str, Any] = {"max_new_tokens": 20, "do_sample": False}
    written = gemma.generate(ids, **settings)[0, ids.shape[1] :]
    embeds = gemma.get_input_embeddings()(ids)
    assert torch.equal(gemma.generate(inputs_embeds=embeds, **settings)[0], written)
    text = gemma_tokenizer.decode(written)
    assert loss_per_token(gemma, gemma_tokenizer, f"{GERMAN}{text}") < 3
    assert {"in", "den", "der", "die", "das", "ein", "und", "ist"} & set(text.lower().split())


def test_its_tokenizer_gives_back_every_text(gemma_tokenizer: Any) -> None:
    for text in ("Grüß Gott, Österreich!", "zwei  Leerzeichen\nund 12,5 °C", "ꙮ 🤟🏽", "明天下雪。"):
        assert gemma_tokenizer.decode(gemma_tokenizer(text).input_ids, skip_special_tokens=True) == text
    assert gemma_tokenizer.tokenize("ꙮ") == ["<0xEA>", "<0x99>", "<0xAE>"]
