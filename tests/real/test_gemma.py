"""Gemma 3 270M with its published weights: that the conversion has kept what it can do, and that the project can use
it. `make test-real`."""

from pathlib import Path
from typing import Any

import pytest
import torch

from slt_cache.batches.text import TextBatches
from slt_cache.config import GenerationConfig, LlmPretrainingConfig, LoraConfig
from slt_cache.decoding.search import decode
from slt_cache.models.llm.load import load_seq2seq
from slt_cache.models.llm.lora import add_lora
from slt_cache.models.translators import SignTranslator, token_loss
from slt_cache.pipeline.trim_llm import TrimReport, trim_llm
from slt_cache.text.tokenizer import Tokenizer, load_tokenizer
from slt_cache.training.tasks.causal import CausalTask
from tests.decoding.test_decoding import Encoded
from tests.helpers.small_llms import SENTENCES

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


@pytest.fixture(scope="module")
def trimmed(gemma_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrimReport]:
    """The LLM with the vocabulary of some German sentences."""
    folder = tmp_path_factory.mktemp("gemma") / "trimmed"
    return folder, trim_llm(str(gemma_folder), SENTENCES, {}, folder)


def test_a_trimmed_vocabulary_keeps_tokens_and_logits(
    gemma: Any, gemma_tokenizer: Any, trimmed: tuple[Path, TrimReport]
) -> None:
    folder, report = trimmed
    assert report.vocab_before == 262_144 and report.vocab_after < 5_000
    assert report.parameters_after == report.parameters_before - 640 * (262_144 - report.vocab_after)
    tokenizer, model = load_tokenizer(str(folder), "de_DE"), load_seq2seq(str(folder)).eval()
    old_of = [gemma_tokenizer.convert_tokens_to_ids(token) for token in _tokens(tokenizer)]
    for sentence in SENTENCES[:5]:
        ids = tokenizer.encode(sentence)
        assert [old_of[number] for number in ids] == gemma_tokenizer(sentence, add_special_tokens=False).input_ids
        with torch.no_grad():
            before = gemma(torch.tensor([[old_of[number] for number in ids]])).logits[..., old_of]
            torch.testing.assert_close(model(torch.tensor([ids])).logits, before, rtol=0, atol=1e-3)


def _tokens(tokenizer: Tokenizer) -> list[str]:
    tokens: list[str] = tokenizer.inner.convert_ids_to_tokens(list(range(len(tokenizer))))
    return tokens


def test_a_batch_of_videos_is_decoded_as_each_alone(trimmed: tuple[Path, TrimReport]) -> None:
    tokenizer = load_tokenizer(str(trimmed[0]), "de_DE")
    model = SignTranslator(8, load_seq2seq(str(trimmed[0]), tokenizer=tokenizer), tokenizer.start).eval()
    lengths = (3, 11, 1, 7)
    clips = [torch.randn(length, 8) for length in lengths]
    ids = tuple(map(str, lengths))
    together = [Encoded(ids, torch.cat(clips), torch.tensor(lengths))]
    alone = [Encoded((name,), clip, torch.tensor([len(clip)])) for name, clip in zip(ids, clips, strict=True)]
    search = GenerationConfig(num_beams=5, max_new_tokens=8)
    found, wanted = (decode(model, batches, tokenizer, search) for batches in (together, alone))
    assert [one.texts for one in found] == [one.texts for one in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert one.scores == pytest.approx(other.scores, abs=1e-4)


def test_it_learns_a_text_with_lora(trimmed: tuple[Path, TrimReport]) -> None:
    tokenizer = load_tokenizer(str(trimmed[0]), "de_DE")
    model: Any = load_seq2seq(str(trimmed[0]), tokenizer=tokenizer)
    add_lora(model, LoraConfig(r=4))
    train, dev = (TextBatches(part, tokenizer, batch_size=8) for part in (SENTENCES[::2], SENTENCES[1::2]))
    settings = LlmPretrainingConfig(objective="causal", lr=1e-3)
    task = CausalTask(model, train, dev, settings, lambda epoch, scores: None)
    before, optimizer = task.evaluate()["loss"], task.optimizer()
    for epoch in (1, 2):
        for batch in task.batches(epoch):
            optimizer.zero_grad()
            (token_loss(task.logits(model, batch), batch.targets.labels, 0.0) / batch.size).backward()
            optimizer.step()
    assert task.evaluate()["loss"] < before - 0.5
